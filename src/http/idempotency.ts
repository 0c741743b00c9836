import { AsyncLocalStorage } from "node:async_hooks";
import { createHash, createHmac } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Config } from "../config/schema.ts";
import type { Context } from "../context.ts";
import { type Db, inTransaction, type Tx } from "../db/transaction.ts";
import { oncePer } from "../log.ts";
import { viewerOf } from "./auth.ts";
import { invalidRequest, keyInProgress, keyReused } from "./errors.ts";
import { contentOfJson, contentOfSecret } from "./fingerprint.ts";
import {
  type Claim,
  claimKey,
  releaseKey,
  renewClaims,
  roughCounts,
  type StoredAnswer,
  storeAnswer,
} from "./idempotency-store.ts";
import type { App, KeyedRequest } from "./types.ts";

/** Milliseconds between renewals of the claims that are in hand: two may fail before a lease ends. */
const RENEWAL = 3_000;
/** Seconds after which to ask how a request that is under way has ended. */
const RETRY_AFTER = 1;
/** Milliseconds that an answer waits until it is stored, or its key given back: not as long as a database that hangs. */
const PATIENCE = 1_000;
/** Bytes of an answer that is kept; those of POSTs are some hundreds. */
const MAX_BODY = 256 * 1024;
/** About this moment or this sender, and not about what was sent. */
const PASSING: ReadonlySet<number> = new Set([401, 408, 425, 429]);

/** Thrown instead of doing the work: the answer that was given first. */
export class Replay extends Error {
  readonly answer: StoredAnswer;

  constructor(answer: StoredAnswer) {
    super("answered before");
    this.answer = answer;
  }
}

/** The request whose work is being done here. */
const current = new AsyncLocalStorage<KeyedRequest>();

/**
 * Stores the answer of the request whose work this transaction is, so that both are there or neither. To be called last:
 * from here to its end the transaction holds the key. Nothing where the request has no key, or where there is none.
 * @param body what the route sends, null for nothing.
 * @throws 409 where the lease was lost and another request has the key: this work must not be done too.
 */
export async function keepAnswer(tx: Tx, status: number, body: object | null): Promise<void> {
  const keyed = current.getStore();
  if (!keyed) return;
  const { claim, fingerprint } = keyed;
  const text = body === null ? "" : JSON.stringify(body);
  if (claim === null || fingerprint === null || Buffer.byteLength(text) > MAX_BODY) {
    throw new Error("the answer cannot be kept: work without a claim, before its body was read, or it is too large");
  }
  if (!(await storeAnswer(tx, claim, { status, body: text, fingerprint }))) {
    keyed.lost = true;
    throw keyInProgress({}, { retryAfter: RETRY_AFTER });
  }
  keyed.kept = text;
}

/**
 * For work that is a single statement, whose result is the answer's body: in a transaction with the answer where the
 * request has a key, as it is where it has none.
 */
export async function withAnswer<T extends object>(db: Db, status: number, work: (db: Db) => Promise<T>): Promise<T> {
  if (!current.getStore()) return work(db);
  return inTransaction(db, async (tx) => {
    const answer = await work(tx);
    await keepAnswer(tx, status, answer);
    return answer;
  });
}

/**
 * Tells what a request has sent, when all of it is there and before anything is done. Nothing where it has no key.
 * @throws Replay where it was answered before, 422 where that was for another body.
 */
export function bodyArrived(request: FastifyRequest, content: string): void {
  const keyed = request.idempotency;
  if (!keyed) return;
  keyed.fingerprint = keyed.sign(content);
  if (!keyed.stored) return;
  if (!keyed.fingerprint.equals(keyed.stored.fingerprint)) throw keyReused({});
  throw new Replay(keyed.stored);
}

/**
 * Tells it of bodies that Fastify parses. Before anything is asked of them: also what is refused is given again, and to the
 * same body alone.
 */
export async function fingerprintBody(request: FastifyRequest): Promise<void> {
  if (!request.idempotency) return;
  // Who reads a form also says what was in it.
  const { form, secretBody } = request.routeOptions.config;
  if (form !== undefined && /^multipart\//i.test(request.headers["content-type"] ?? "")) return;
  const content = contentOfJson(request.body);
  bodyArrived(request, secretBody ? await contentOfSecret(content, viewerOf(request).id) : content);
}

/** Sends an answer again. Its headers are those that every answer has; the id of the request is the new one's. */
export function sendReplay(reply: FastifyReply, { status, body }: StoredAnswer): FastifyReply {
  reply.code(status).header("idempotent-replayed", "true");
  if (status >= 400) reply.header("cache-control", "no-store");
  if (body === "") return reply.send();
  // Text would be encoded as JSON once more.
  return reply.type("application/json; charset=utf-8").send(Buffer.from(body));
}

interface Keys extends Pick<Context, "db" | "log"> {
  config: { http: Pick<Config["http"], "request_timeout">; database: Pick<Config["database"], "statement_timeout"> };
}

/**
 * Honours Idempotency-Key on the POSTs below this scope. A key is claimed before the body is read, so that of two that
 * come at once the second is told so before it has sent a video.
 */
export function honourIdempotencyKeys(app: App, { config, db, log }: Keys): void {
  const inHand = new Map<Claim, number>();
  const counts = roughCounts();
  const warnFull = oncePer(60_000, (user_id: string) =>
    log.warn({ user_id }, "an account has too many Idempotency-Keys"),
  );
  // As long as a body may take to come, and the work then.
  renewWhileInHand(app, { db, log }, inHand, config.http.request_timeout + config.database.statement_timeout);

  app.addHook("onRequest", async (request) => {
    const key = keyOf(request);
    if (key === null) return;
    const [address = "", ...query] = request.url.split("?");
    // The router takes a slash at the end as none.
    const path = address.replace(/\/$/, "");
    const scope = `${request.method} ${path}\n${key}`;
    const { id } = viewerOf(request);
    const found = await claimKey(db, { user_id: id, scope: createHash("sha256").update(scope).digest() }, counts);
    if (found === "running") throw keyInProgress({}, { retryAfter: RETRY_AFTER });
    // Better done without the promise than refused: nobody comes here who sends no more than the limits allow.
    if (found === "full") return warnFull(id);
    const stored = "stored" in found ? found.stored : null;
    const claim = "claim" in found ? found.claim : null;
    request.idempotency = {
      replays: stored !== null,
      stored,
      claim,
      // The key, which is kept nowhere, seals it: a hash alone would let what was sent be guessed by it.
      sign: (content) =>
        createHmac("sha256", scope)
          .update(`${query.join("?")}\n${content}`)
          .digest(),
      fingerprint: null,
      passes: false,
      kept: null,
      lost: false,
    };
    if (claim) inHand.set(claim, performance.now());
  });

  app.addHook("preHandler", (request, _reply, done) => {
    if (request.idempotency) current.run(request.idempotency, done);
    else done();
  });

  app.addHook("onSend", (request, reply, payload, done) => {
    const claim = request.idempotency?.claim;
    if (!request.idempotency || !claim || !inHand.delete(claim)) return done(null, payload);
    const answer =
      !request.idempotency.passes && comesAgain(reply)
        ? { status: reply.statusCode, body: jsonOf(reply, payload) }
        : null;
    const settled = settle(db, request.idempotency, claim, answer)
      // What was done is done, and its route may be asked again: to withhold the answer would help nobody.
      .catch((error: unknown) => request.log.warn({ err: error }, "no answer is kept for an Idempotency-Key"));
    void Promise.race([settled, delay(PATIENCE, undefined, { ref: false })]).then(() => done(null, payload));
  });
}

/** Whether the same request would be answered so again. What tells when to ask again would not. */
function comesAgain(reply: FastifyReply): boolean {
  const status = reply.statusCode;
  if (status < 300) return true;
  return status >= 400 && status < 500 && !PASSING.has(status) && !reply.hasHeader("retry-after");
}

/** Stores an answer that its work has not stored; or gives the key back, where there is none that is kept. */
async function settle(
  db: Db,
  { fingerprint, kept, lost }: KeyedRequest,
  claim: Claim,
  answer: { status: number; body: string | null } | null,
): Promise<void> {
  const body = answer?.body ?? null;
  if (lost || (answer && answer.status < 300 && kept !== null && kept === body)) return;
  if (answer && fingerprint !== null && body !== null && Buffer.byteLength(body) <= MAX_BODY) {
    await storeAnswer(db, claim, { status: answer.status, body, fingerprint });
  } else {
    // Where the work has committed all the same, and only its end was not heard of, this finds the answer and changes nothing.
    await releaseKey(db, claim);
  }
}

/** The body of an answer in JSON, empty where there is none; null for what is not kept. */
function jsonOf(reply: FastifyReply, payload: unknown): string | null {
  if (payload === undefined || payload === null || payload === "") return "";
  const isJson = String(reply.getHeader("content-type")).startsWith("application/json");
  return isJson && typeof payload === "string" ? payload : null;
}

/**
 * @param inHand claims, and since when.
 * @param longest milliseconds after which a claim is left to its lease: whatever keeps a request from its end, its key is
 * free again at some time. Work that goes on all the same does not commit if another has the key by then.
 */
function renewWhileInHand(
  app: App,
  { db, log }: Pick<Context, "db" | "log">,
  inHand: Map<Claim, number>,
  longest: number,
): void {
  const warn = oncePer(10_000, (error: unknown) => log.warn({ err: error }, "claims of Idempotency-Keys"));
  let renewing = false;
  const timer = setInterval(async () => {
    for (const [claim, since] of inHand) if (performance.now() - since > longest) inHand.delete(claim);
    if (renewing || inHand.size === 0) return;
    renewing = true;
    // One that is lost by it does no harm: its work does not commit.
    await renewClaims(db, [...inHand.keys()]).catch(warn);
    renewing = false;
  }, RENEWAL);
  timer.unref();
  app.addHook("onClose", async () => clearInterval(timer));
}

const VISIBLE = /^[!-~]{1,255}$/;
/** A string of RFC 9651, as the draft of the header has it. */
const QUOTED = /^"(?:[ !#-[\]-~]|\\["\\]){1,255}"$/;

/** @returns the key, null where it has no meaning. @throws 400 */
function keyOf(request: FastifyRequest): string | null {
  const given = request.headers["idempotency-key"];
  if (given === undefined || request.method !== "POST" || request.is404) return null;
  if (request.routeOptions.config.public || request.routeOptions.config.withoutIdempotencyKey) return null;
  const text = String(given);
  if (text.startsWith('"') ? QUOTED.test(text) : VISIBLE.test(text)) {
    return text.startsWith('"') ? text.slice(1, -1).replace(/\\(.)/g, "$1") : text;
  }
  throw invalidRequest({ reason: "Idempotency-Key must be 1 to 255 visible ASCII characters" });
}
