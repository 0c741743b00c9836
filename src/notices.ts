import { randomBytes } from "node:crypto";
import { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import type pg from "pg";
import type { Logger } from "pino";
import { Client } from "./db/client.ts";
import type { Tx } from "./db/transaction.ts";

/**
 * What processes tell each other. The feature that knows adds its topic by declaration merging beside the code that tells
 * it, with the meaning of its id:
 *
 *     declare module "../../src/notices.ts" { interface NoticeTopics { "account.changed": "user_id" } }
 */
export interface NoticeTopics extends Record<never, never> {}

export type NoticeTopic = keyof NoticeTopics & string;

export interface Notices {
  /**
   * Told to every serve and worker (this process included) when the transaction commits, and only then. For rare changes:
   * Postgres lets transactions that tell something commit one after the other.
   * @param id at most 100 characters.
   */
  tell(tx: Tx, topic: NoticeTopic, id: string): Promise<void>;
  /** @returns a function that ends it. */
  on(topic: NoticeTopic, handler: (id: string) => void): () => void;
  /**
   * Called when notices may have been missed: whatever was kept by them must be forgotten, also what is still being read.
   * @returns a function that ends it.
   */
  onGap(handler: () => void): () => void;
  /**
   * Whether all notices up to a second ago have surely come. What is kept by notices must not be used while they have not.
   * Never in a command, which only tells.
   */
  readonly live: boolean;
}

const CHANNEL = "tintype";
/** Postgres takes 8,000 bytes; what is told is an id. */
const MOST_CHARACTERS = 100;

/** Milliseconds. */
const BEAT_INTERVAL = 300;
const LIVE_FOR = 1_000;
/** A connection that does not answer for so long is given up. */
const HUNG_AFTER = 3_000;
const CONNECT_TIMEOUT = 2_000;
const END_TIMEOUT = 500;
const PAUSE = { first: 100, longest: 2_000 };

/** Makes what tells; it hears nothing until `listen` is called. */
export function createNotices(): { notices: Notices; listen: Listen } {
  const handlers = new Map<string, Set<(id: string) => void>>();
  const gapHandlers = new Set<() => void>();
  // When the latest heartbeat that came back was sent.
  let seen = Number.NEGATIVE_INFINITY;
  const notices: Notices = {
    async tell(tx, topic, id) {
      if (id.length > MOST_CHARACTERS) throw new Error(`a notice of ${id.length} characters`);
      await sql`SELECT pg_notify(${CHANNEL}, ${`${topic} ${id}`})`.execute(tx);
    },
    on(topic, handler) {
      const those = handlers.get(topic) ?? new Set();
      handlers.set(topic, those.add(handler));
      return () => void those.delete(handler);
    },
    onGap(handler) {
      gapHandlers.add(handler);
      return () => void gapHandlers.delete(handler);
    },
    get live() {
      return performance.now() - seen < LIVE_FOR;
    },
  };
  const hearing: Hearing = {
    notice(payload) {
      const space = payload.indexOf(" ");
      for (const handler of handlers.get(payload.slice(0, space)) ?? []) handler(payload.slice(space + 1));
    },
    gap() {
      for (const handler of gapHandlers) handler();
    },
    beat(sentAt) {
      seen = sentAt;
    },
    lost() {
      seen = Number.NEGATIVE_INFINITY;
    },
  };
  return { notices, listen: (connection, log) => startListening(connection, log, hearing) };
}

/** Listens on a connection of its own, which is made again whenever it is lost. @returns what ends that. */
export type Listen = (connection: pg.PoolConfig, log: Logger) => () => Promise<void>;

/** Who is told what came. */
interface Hearing {
  notice(payload: string): void;
  /** There is a connection that misses nothing from now on. */
  gap(): void;
  /** A heartbeat came back that was sent at `sentAt`, and with it all notices before it. */
  beat(sentAt: number): void;
  /** Nothing comes until the next heartbeat. */
  lost(): void;
}

function startListening(connection: pg.PoolConfig, log: Logger, hearing: Hearing): () => Promise<void> {
  const ending = new AbortController();
  const running = keepListening(connection, log, hearing, ending.signal);
  return async () => {
    ending.abort();
    await running;
  };
}

async function keepListening(
  connection: pg.PoolConfig,
  log: Logger,
  hearing: Hearing,
  signal: AbortSignal,
): Promise<void> {
  let lost = false;
  let pause = PAUSE.first;
  const beat = (sentAt: number) => {
    hearing.beat(sentAt);
    pause = PAUSE.first;
    if (lost) log.info("notices of other servers come again");
    lost = false;
  };
  while (!signal.aborted) {
    try {
      await listen(connection, { ...hearing, beat }, signal);
    } catch (error) {
      if (!signal.aborted && !lost) {
        lost = true;
        log.warn(
          { err: error },
          "notices of other servers do not come; what is kept by them is not used until they do",
        );
      }
    }
    hearing.lost();
    // Not all servers at once.
    await delay(pause * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined);
    pause = Math.min(pause * 2, PAUSE.longest);
  }
}

/** @throws when the connection is lost or hangs, or `signal` is given. */
async function listen(connection: pg.PoolConfig, hearing: Hearing, signal: AbortSignal): Promise<void> {
  const socket = new Socket();
  const client = new Client({
    ...connection,
    // To be destroyed where a server that hangs answers no goodbye.
    stream: () => socket,
    connectionTimeoutMillis: CONNECT_TIMEOUT,
    query_timeout: HUNG_AFTER,
  });
  const over = new AbortController();
  client.once("end", () => over.abort(new Error("the connection has ended")));
  try {
    await hear(client, hearing, AbortSignal.any([signal, over.signal]), (error) => over.abort(error));
  } finally {
    client.removeAllListeners("notification");
    await Promise.race([client.end(), delay(END_TIMEOUT, undefined, { ref: false })]).catch(() => undefined);
    socket.destroy();
  }
}

async function hear(
  client: Client,
  hearing: Hearing,
  signal: AbortSignal,
  giveUp: (error: unknown) => void,
): Promise<void> {
  // On a channel of its own, which wakes no other client.
  const beats = `${CHANNEL}_beat_${randomBytes(8).toString("hex")}`;
  let seen = performance.now();
  client.on("notification", ({ channel, payload = "" }) => {
    if (channel === CHANNEL) {
      try {
        hearing.notice(payload);
      } catch (error) {
        // What a handler did not take in counts as missed.
        client.removeAllListeners("notification");
        hearing.lost();
        giveUp(error);
      }
    } else {
      seen = Number(payload);
      hearing.beat(seen);
    }
  });
  await client.connect();
  // Nothing is lost with a heartbeat: it need not wait for the disk.
  await client.query(`SET synchronous_commit = off; LISTEN ${CHANNEL}; LISTEN ${beats}`);
  hearing.gap();
  for (;;) {
    signal.throwIfAborted();
    const sent = performance.now();
    if (sent - seen > HUNG_AFTER) {
      throw new Error("notifications do not come back, as through a pooler in transaction mode");
    }
    // Postgres hands notices out in the order of their commits: with this one all before it have come.
    await client.query("SELECT pg_notify($1, $2)", [beats, String(sent)]);
    await delay(BEAT_INTERVAL, undefined, { signal });
  }
}
