import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import { fastify } from "fastify";
import { sql } from "kysely";
import t from "tap";
import { testDatabase } from "../../test/support/database.ts";
import { openDb, query, silent } from "../../test/support/product/database.ts";
import { inTransaction, type Tx } from "../db/transaction.ts";
import { handleError } from "./error-handler.ts";
import { contentOfJson, FormContent } from "./fingerprint.ts";
import { fingerprintBody, honourIdempotencyKeys, keepAnswer, withAnswer } from "./idempotency.ts";
import {
  type Claim,
  claimKey,
  eraseKeys,
  KEYS_PER_ACCOUNT,
  LEASE,
  releaseKey,
  renewClaims,
  roughCounts,
  type Scope,
  storeAnswer,
  sweepKeys,
} from "./idempotency-store.ts";
import type { App } from "./types.ts";

const { url } = await testDatabase(t);
const db = openDb(t, url);
const user_id = randomUUID();
await query(url, "INSERT INTO users (id, username, email, password_hash) VALUES ($1, 'ana', 'ana@example.org', '')", [
  user_id,
]);
await query(url, "CREATE TABLE effects (name text, id uuid)");

let names = 0;
const newScope = (): Scope => ({ user_id, scope: Buffer.from(`scope ${names++}`) });
const answer = { status: 201, body: '{"id":1}', fingerprint: Buffer.from("what was sent") };
const happen = (tx: Tx, name: string, id = randomUUID()) =>
  sql`INSERT INTO effects (name, id) VALUES (${name}, ${id})`.execute(tx);
const effects = async (name: string) =>
  (await query(url, "SELECT id FROM effects WHERE name = $1", [name])).map(({ id }) => id);
const endLeases = () =>
  query(url, "UPDATE idempotency_keys SET held_until = now() - interval '1 ms' WHERE status IS NULL");
const leftOf = async ({ scope }: { scope: Buffer }) => {
  const [row] = await query(
    url,
    "SELECT (extract(epoch FROM held_until - now()) * 1000)::int AS left FROM idempotency_keys WHERE scope = $1",
    [scope],
  );
  return row ? Number(row.left) : null;
};

async function claimed(scope = newScope()): Promise<Claim> {
  const found = await claimKey(db, scope);
  if (typeof found === "string" || !("claim" in found)) throw new Error(`not claimed: ${JSON.stringify(found)}`);
  return found.claim;
}

t.test("a claim is somebody's until it is given back, answered, or its lease ends", async (t) => {
  const scope = newScope();
  const first = await claimed(scope);
  t.equal(await claimKey(db, scope), "running");
  await releaseKey(db, { ...first, token: randomUUID() });
  t.equal(await claimKey(db, scope), "running", "nobody else gives it back");
  await releaseKey(db, first);
  const second = await claimed(scope);
  t.equal(await storeAnswer(db, first, answer), false, "what was given back is not answered");
  await endLeases();
  const third = await claimed(scope);
  t.equal(await storeAnswer(db, second, answer), false, "nor what somebody else has now");
  t.equal(await storeAnswer(db, third, answer), true);
  t.equal(await storeAnswer(db, third, answer), false, "nor twice");
  t.same(await claimKey(db, scope), { stored: answer });
  await releaseKey(db, third);
  t.same(await claimKey(db, scope), { stored: answer }, "an answer is not given back");
});

t.test("a lease is renewed for its holder alone", async (t) => {
  const [mine, lost] = [await claimed(), await claimed()];
  await endLeases();
  const others = await claimed(lost);
  await query(url, "UPDATE idempotency_keys SET held_until = now() + interval '1 s' WHERE status IS NULL");
  await renewClaims(db, [mine, lost]);
  t.ok(Number(await leftOf(mine)) > LEASE / 2);
  t.ok(Number(await leftOf(others)) <= 1_000, "another has it");
  t.equal(await storeAnswer(db, others, answer), true);
  const kept = await leftOf(others);
  await renewClaims(db, [others]);
  t.ok(Number(await leftOf(others)) > Number(kept) - 60_000, "an answer is kept as long as before");
});

t.test("work that is about to commit is neither taken over nor given back, and nobody waits for it", async (t) => {
  for (const commits of [true, false]) {
    const scope = newScope();
    const claim = await claimed(scope);
    await endLeases();
    const work = inTransaction(db, async (tx) => {
      t.equal(await storeAnswer(tx, claim, answer), true);
      t.equal(await claimKey(db, scope), "running");
      await releaseKey(db, claim);
      await renewClaims(db, [claim]);
      if (!commits) throw new Error("rolled back");
    });
    await (commits ? work : t.rejects(work, /rolled back/));
    if (commits) t.same(await claimKey(db, scope), { stored: answer });
    else t.not((await claimed(scope)).token, claim.token);
  }
});

t.test("whatever pauses, is killed and is taken over: one effect, one answer", async (t) => {
  const pause = () => delay(Math.random() * 6);
  const chance = (probability: number) => Math.random() < probability;
  let takenOver = 0;
  /** A server that does the work of a request, or ends somewhere on its way. @returns the answer that its client sees. */
  const serve = async (name: string, scope: ReturnType<typeof newScope>) => {
    const found = await claimKey(db, scope);
    if (typeof found === "string") return null;
    if ("stored" in found) return found.stored.body;
    const id = randomUUID();
    let seen = false;
    try {
      await pause();
      await inTransaction(db, async (tx) => {
        await happen(tx, name, id);
        await pause();
        if (chance(0.2)) throw new Error("killed");
        if (!(await storeAnswer(tx, found.claim, { ...answer, body: id }))) {
          takenOver++;
          throw new Error("lost");
        }
        await pause();
        if (chance(0.2)) throw new Error("killed");
      });
      seen = chance(0.7);
    } catch {
      // What is alive gives the key back; what was killed does not.
    }
    if (chance(0.5)) await releaseKey(db, found.claim);
    return seen ? id : null;
  };
  for (let round = 0; round < 15; round++) {
    const [name, scope] = [`round ${round}`, newScope()];
    let open = true;
    const endings = (async () => {
      while (open) {
        await delay(Math.random() * 40);
        await sql`UPDATE idempotency_keys SET held_until = now() - interval '1 ms' WHERE status IS NULL`.execute(db);
      }
    })();
    const seen = await Promise.all(
      Array.from({ length: 4 }, async () => {
        for (;;) {
          const body = await serve(name, scope);
          if (body !== null) return body;
          await pause();
        }
      }),
    );
    open = false;
    await endings;
    const there = await effects(name);
    t.strictSame([there.length, new Set(seen)], [1, new Set(there)], name);
  }
  t.ok(takenOver > 0, `${takenOver} were taken over in the middle of their work`);
});

t.test("an account that has its fill of keys goes on without new ones", async (t) => {
  const [full] = await query(
    url,
    "INSERT INTO users (id, username, email, password_hash) VALUES (gen_random_uuid(), 'bob', 'bob@example.org', '') RETURNING id",
  );
  const user_id = String(full?.id);
  const scopes = [1, 2, 3].map((n): Scope => ({ user_id, scope: Buffer.from(`full ${n}`) }));
  const [first, second, third] = scopes as [Scope, Scope, Scope];
  const counts = roughCounts();
  counts.set(user_id, KEYS_PER_ACCOUNT - 1);
  const found = await claimKey(db, first, counts);
  t.ok(typeof found === "object" && "claim" in found && (await storeAnswer(db, found.claim, answer)));
  t.equal(await claimKey(db, second, counts), "full", "what a process adds is counted");
  t.same(await claimKey(db, first, counts), { stored: answer }, "what is stored is given all the same");
  t.ok(await claimed(second), "it has only two in truth");

  await query(
    url,
    `INSERT INTO idempotency_keys (user_id, scope, token, held_until, created_at)
     SELECT $1, decode(md5(n::text), 'hex'), gen_random_uuid(), now(), now() FROM generate_series(1, $2 - 2) AS n`,
    [user_id, KEYS_PER_ACCOUNT],
  );
  t.equal(await claimKey(db, third), "full", "what is there is counted");
  const app = openApp(t, undefined, { viewer: user_id });
  for (const time of [1, 2]) {
    const { statusCode, headers } = await send(app, "/work", "full", "full");
    t.strictSame([statusCode, headers["idempotent-replayed"]], [201, undefined], `time ${time}`);
  }
  t.equal((await effects("full")).length, 2);
  await query(url, "DELETE FROM idempotency_keys WHERE user_id = $1", [user_id]);
});

t.test("sweeping and erasing", async (t) => {
  const [over, killed, fresh, running] = [newScope(), newScope(), newScope(), newScope()];
  for (const scope of [over, fresh]) await storeAnswer(db, await claimed(scope), answer);
  await claimed(killed);
  const claim = await claimed(running);
  await query(
    url,
    `UPDATE idempotency_keys SET created_at = created_at - interval '25 h',
       held_until = held_until - CASE WHEN scope = $3 THEN interval '0' ELSE interval '25 h' END
     WHERE scope IN ($1, $2, $3)`,
    [over.scope, killed.scope, running.scope],
  );
  const signal = new AbortController().signal;
  t.equal(await sweepKeys(db, signal), 2);
  t.same([await leftOf(over), await leftOf(killed)], [null, null]);
  t.ok((await leftOf(fresh)) !== null, "its day is not over");
  t.equal(await storeAnswer(db, claim, answer), true, "what is under way since then is left alone");
  await eraseKeys(db, user_id, signal);
  t.same(await query(url, "SELECT FROM idempotency_keys"), []);
  await t.rejects(sweepKeys(db, AbortSignal.abort()));
});

/** Two routes of a feature: `/work` makes an effect with its answer, `/repeatable` leaves the answer to the hook. */
function openApp(
  t: { teardown(end: () => unknown): void },
  atWork: () => Promise<unknown> = async () => undefined,
  { longest = 600_000, viewer = String(user_id) } = {},
): App {
  const app: App = fastify({ loggerInstance: silent }).withTypeProvider<TypeBoxTypeProvider>();
  app.setErrorHandler(handleError);
  app.decorateRequest("viewer", null);
  app.decorateRequest("idempotency", null);
  app.addHook("onRequest", async (request) => {
    request.viewer = { id: viewer, username: "ana", session_id: "" };
  });
  const config = { http: { request_timeout: longest }, database: { statement_timeout: 0 } };
  app.addHook("preValidation", fingerprintBody);
  honourIdempotencyKeys(app, { config, db, log: silent });
  app.post<{ Body: { name: string } }>("/work", async ({ body: { name } }, reply) => {
    const kept = { name, text: name.startsWith("large") ? "x".repeat(300_000) : "é\u2028" };
    await inTransaction(db, async (tx) => {
      await happen(tx, name);
      await atWork();
      await keepAnswer(tx, 201, kept);
    });
    return reply.code(201).send(kept);
  });
  app.post<{ Body: { name: string } }>("/statement", async ({ body: { name } }) =>
    withAnswer(db, 200, async (where) => {
      await happen(where as Tx, name);
      return { transaction: where.isTransaction };
    }),
  );
  app.post("/repeatable", async (_request, reply) => {
    await atWork();
    return reply.code(200).send({ fine: true });
  });
  t.teardown(() => app.close());
  return app;
}

const send = (app: App, path: string, key: string | null, name: string) =>
  app.inject({ method: "POST", url: path, payload: { name }, headers: key === null ? {} : { "idempotency-key": key } });

t.test("the answer is kept with the work", async (t) => {
  const app = openApp(t);
  const first = await send(app, "/work", "with-the-work", "kept");
  const again = await send(app, "/work", "with-the-work", "kept");
  t.strictSame([again.statusCode, again.rawPayload], [201, first.rawPayload]);
  t.equal(again.headers["idempotent-replayed"], "true");
  t.equal((await effects("kept")).length, 1);

  const large = await send(app, "/work", "large", "large");
  t.equal(large.statusCode, 500, "an answer that cannot be kept");
  t.same(await effects("large"), [], "and its work with it");

  t.same((await send(app, "/statement", null, "alone")).json(), { transaction: false });
  t.same((await send(app, "/statement", "statement", "with")).json(), { transaction: true });
  t.same((await send(app, "/statement", "statement", "with")).json(), { transaction: true });
  t.same([(await effects("alone")).length, (await effects("with")).length], [1, 1]);
});

t.test("a process that was stopped for longer than its lease does not do the work again", async (t) => {
  const [stopped, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const slow = openApp(t, () => {
    stopped.resolve();
    return goOn.promise;
  });
  const first = send(slow, "/work", "stopped", "stopped");
  await stopped.promise;
  const other = openApp(t);
  t.equal((await send(other, "/work", "stopped", "stopped")).statusCode, 409);
  await endLeases();
  const second = await send(other, "/work", "stopped", "stopped");
  t.equal(second.statusCode, 201);
  goOn.resolve();
  const late = await first;
  t.strictSame([late.statusCode, late.json().error.code], [409, "IDEMPOTENCY_IN_PROGRESS"]);
  t.equal((await effects("stopped")).length, 1, "its work was rolled back");
  t.strictSame((await send(slow, "/work", "stopped", "stopped")).rawPayload, second.rawPayload);
});

t.test("a claim is renewed for as long as a request may take, and no longer", async (t) => {
  const goOn = Promise.withResolvers<void>();
  const begin = async (longest: number) => {
    const begun = Promise.withResolvers<void>();
    const work = () => {
      begun.resolve();
      return goOn.promise;
    };
    const answered = send(openApp(t, work, { longest }), "/work", `for-${longest}`, `for-${longest}`);
    await begun.promise;
    return { answered };
  };
  const short = await begin(1);
  const long = await begin(600_000);
  const renewed = () =>
    query(
      url,
      `SELECT held_until - created_at > $1 * interval '1.05 ms' AS renewed FROM idempotency_keys
       WHERE status IS NULL ORDER BY created_at`,
      [LEASE],
    );
  while (!(await renewed())[1]?.renewed) await delay(100);
  t.same(await renewed(), [{ renewed: false }, { renewed: true }]);
  await endLeases();
  const other = await send(openApp(t), "/work", "for-1", "for-1");
  t.equal(other.statusCode, 201, "the key of a request that does not end is free again");
  goOn.resolve();
  t.same([(await short.answered).statusCode, (await long.answered).statusCode], [409, 201]);
  t.equal((await effects("for-1")).length, 1);
});

t.test("an answer that cannot be stored goes out all the same", async (t) => {
  const { release, held } = await holding(t);
  const app = openApp(t, () => held());
  const answered = await send(app, "/repeatable", "not-stored", "x");
  t.strictSame([answered.statusCode, answered.json()], [200, { fine: true }]);
  await release();
});

/** Locks the table when told to, until it is released. */
async function holding(t: { teardown(end: () => unknown): void }) {
  const done = Promise.withResolvers<void>();
  t.teardown(() => done.resolve());
  let holder: Promise<unknown> = Promise.resolve();
  return {
    held: () =>
      new Promise<void>((locked, failed) => {
        holder = inTransaction(db, async (tx) => {
          await sql`LOCK TABLE idempotency_keys`.execute(tx);
          locked();
          await done.promise;
        });
        holder.catch(failed);
      }),
    release: () => {
      done.resolve();
      return holder;
    },
  };
}

t.test("what a body says", async (t) => {
  t.equal(contentOfJson({ b: [{ y: 1, x: null }], a: "é" }), contentOfJson({ a: "é", b: [{ x: null, y: 1 }] }));
  t.equal(contentOfJson(JSON.parse('{"__proto__":{"b":1,"a":2},"c":3}')), '{"__proto__":{"a":2,"b":1},"c":3}');
  const different = [undefined, null, {}, [], "", [1, 2], [2, 1], { a: 1 }, { a: "1" }, [{ a: 1 }], { a: [1] }];
  t.equal(new Set(different.map(contentOfJson)).size, different.length);

  const form = (...parts: [kind: "field" | "file", name: string, value: string][]) => {
    const content = new FormContent();
    for (const [kind, name, value] of parts) {
      if (kind === "field") content.field(name, value);
      else content.file(name, Buffer.from(value));
    }
    return content.digest();
  };
  const forms = [
    form(),
    form(["field", "a", "b"]),
    form(["file", "a", "b"]),
    form(["field", "ab", ""]),
    form(["field", "a", "b"], ["field", "c", "d"]),
    form(["field", "c", "d"], ["field", "a", "b"]),
    form(["field", "a", 'b"]\n["field","c","d']),
  ];
  t.equal(new Set(forms).size, forms.length);
});
