import { v4 as randomId } from "uuid";
import type { Context } from "../../src/context.ts";
import type { PgSnapshot } from "../../src/db/snapshot.ts";
import type { Tx } from "../../src/db/transaction.ts";
import { endEpochOfOthers } from "../../src/redis/epoch.ts";
import { CHANGES_KEPT } from "../../src/redis/kept-values.ts";
import type { RedisStore } from "../../src/redis/redis.ts";
import { pgSnapshotArgs } from "../../src/redis/scripts.ts";
import { type Entry, packEntries, unpackEntries } from "./entries.ts";
import {
  ABANDON,
  BEGIN,
  DROP,
  EXIST,
  FINISH,
  MEASURE,
  PEEK,
  PUSH,
  READ,
  REMOVE,
  TAKE_OUT,
} from "./timeline-scripts.ts";

/** Whose entries: what a viewer reads, or what a pulled author has posted. */
export type Line = "timeline" | "author";

/** Seconds that a timeline is there after it was read last. */
const TTL = 7 * 24 * 3_600;
/** Milliseconds that building one may take; then somebody else may begin. */
const BUILD_TIME = 10_000;

/** Characters of a UUID. */
const ID_LENGTH = 36;

/** Some entries of a line, the newest first. */
export interface Stretch {
  entries: Entry[];
  /** What comes after them: `more` in Redis, what only Postgres knows (`cut`), or nothing (`end`). */
  rest: "more" | "cut" | "end";
}

export interface ReadLine extends Stretch {
  /** All transactions below it had ended when the line was built. */
  built: number;
  /** Of the snapshot that lies beside it. */
  version: string;
  /** Null if the version is the one that was known. */
  snapshot: Buffer | null;
}

/** What a line is built of. */
export interface Built {
  seen: PgSnapshot;
  /** At most CAPACITY, the newest first, packed. */
  entries: Buffer;
  /** Whether there are none before them. */
  complete: boolean;
  snapshot: Buffer;
}

/** Timelines in Redis. Every function may throw RedisUnavailableError. */
export class Timelines {
  readonly #redis: RedisStore;

  constructor(redis: RedisStore) {
    this.#redis = redis;
  }

  /** @returns null if it is not there, or not built yet. */
  async read(
    line: Line,
    id: string,
    options: { after: Entry | null; count: number; version?: string | undefined },
  ): Promise<ReadLine | null> {
    const { after, count, version = "" } = options;
    const [list, hash] = this.#keys(line, id);
    const answer = await this.#redis.run(
      READ,
      [list, hash],
      [this.#redis.epoch(), version, after === null ? "" : packEntries(after), count, TTL],
    );
    const [built, newVersion, snapshot, bytes] = answer as [Buffer, Buffer, Buffer | null, Buffer] | [];
    if (!built || !newVersion || !bytes) return null;
    const { entries, ended } = unpackEntries(bytes);
    const rest = ended ? "end" : entries.length < count ? "cut" : "more";
    return { entries, rest, built: Number(built), version: newVersion.toString(), snapshot: snapshot ?? null };
  }

  /** @param version of the line as it was read: of another one nothing is taken out. */
  async takeOut(line: Line, id: string, version: string, entries: readonly Entry[]): Promise<void> {
    const args = [version, ...entries.map((entry) => packEntries(entry))];
    await this.#redis.run(TAKE_OUT, this.#keys(line, id).slice(0, 2), args);
  }

  /** @returns the token to finish with; `busy` while somebody else is at it, `emptied` where Redis is emptied again and again. */
  async begin(
    line: Line,
    id: string,
    { anew = false } = {},
  ): Promise<{ token: string } | "built" | "busy" | "emptied"> {
    const token = randomId();
    const [list, hash] = this.#keys(line, id);
    const keys = [list, hash, this.#redis.generationKey(id)];
    const args = [token, this.#redis.epoch(), BUILD_TIME, anew ? "1" : ""];
    for (let tries = 0; tries < 2; tries++) {
      const answer = String(await this.#redis.run(BEGIN, keys, args));
      if (answer === "begun") return { token };
      if (answer !== "new") return answer === "busy" ? "busy" : "built";
      await this.#redis.beginGenerations();
    }
    return "emptied";
  }

  /** @param epoch of before Postgres was read. @returns whether it was kept: nothing has changed that it does not know of. */
  async finish(line: Line, id: string, token: string, epoch: string, built: Built): Promise<boolean> {
    const { seen, entries, complete, snapshot } = built;
    const args = [token, epoch, randomId(), snapshot, TTL, complete ? "1" : "", entries];
    const keys = [...this.#keys(line, id), this.#redis.generationKey(id)];
    return (await this.#redis.run(FINISH, keys, [...args, ...pgSnapshotArgs(seen)])) === 1;
  }

  /** Instead of `finish`, where that cannot be. */
  async abandon(line: Line, id: string, token: string): Promise<void> {
    await this.#redis.run(ABANDON, this.#keys(line, id).slice(0, 2), [token]);
  }

  /** Makes a line void for a change that the transaction `xid` is about to make. */
  async drop(line: Line, id: string, xid: string): Promise<void> {
    await this.#redis.run(DROP, this.#keys(line, id), [xid, CHANGES_KEPT]);
  }

  /** @param ids that end with the same byte. @returns how many of the lines are there. */
  async push(line: Line, ids: readonly string[], entry: Entry): Promise<number> {
    return Number(await this.#redis.run(PUSH, this.#lists(line, ids), [packEntries(entry)]));
  }

  /** @param ids as above. @returns how many entries were taken out. */
  async remove(line: Line, ids: readonly string[], entries: readonly Entry[]): Promise<number> {
    return Number(
      await this.#redis.run(
        REMOVE,
        this.#lists(line, ids),
        entries.map((entry) => packEntries(entry)),
      ),
    );
  }

  /** All of a line as it lies there, for operators. @returns null if it is not there, or not built. */
  async peek(line: Line, id: string): Promise<(Pick<ReadLine, "entries" | "built"> & { complete: boolean }) | null> {
    const answer = await this.#redis.run(PEEK, this.#keys(line, id).slice(0, 2), [this.#redis.epoch()]);
    const [built, bytes] = answer as [Buffer, Buffer] | [];
    if (!built || !bytes?.length) return null;
    const { entries, ended } = unpackEntries(bytes);
    return { entries, complete: ended, built: Number(built) };
  }

  /** How much there is of a line, its hash included. */
  async measure(line: Line, id: string): Promise<{ entries: number; bytes: number }> {
    const answer = await this.#redis.run(MEASURE, this.#keys(line, id).slice(0, 2), []);
    const [entries, bytes] = answer as [number, number];
    return { entries, bytes };
  }

  /** @returns those of these lines that are there, also while they are being built. */
  async there(line: Line, ids: readonly string[]): Promise<Set<string>> {
    const byTag = [...Map.groupBy(ids, (id) => id.slice(-2)).values()];
    const found = await Promise.all(
      byTag.map(async (some) => {
        const there = (await this.#redis.run(EXIST, this.#lists(line, some), [])) as number[];
        return some.filter((_, index) => there[index] === 1);
      }),
    );
    return new Set(found.flat());
  }

  /** Walks over the ids of all lines that are there, some of them perhaps twice. */
  async *ids(line: Line): AsyncIterable<string> {
    for await (const keys of this.#redis.scan(line)) for (const key of keys) yield key.slice(-ID_LENGTH);
  }

  #lists(line: Line, ids: readonly string[]): string[] {
    return ids.map((id) => this.#redis.key(line, id));
  }

  /** The list, the hash beside it, and what remembers the last change. */
  #keys(line: Line, id: string): [string, string, string] {
    return [
      this.#redis.key(line, id),
      this.#redis.key(line === "timeline" ? "viewer" : "author-built", id),
      this.#redis.key(`${line}-changed`, id),
    ];
  }
}

/** Makes the timelines of these viewers void from the commit of this transaction on, which holds their accounts. */
export async function dropTimelines(
  tx: Tx,
  { redis, notices }: Pick<Context, "redis" | "notices">,
  viewerIds: readonly string[],
): Promise<void> {
  if (redis === null) return endEpochOfOthers(tx, notices);
  const timelines = new Timelines(redis);
  await redis.invalidate(tx, (xid) => Promise.all(viewerIds.map((id) => timelines.drop("timeline", id, xid))));
}

/** The same for an author's own list: one that is being built may have read what is deleted, and everybody reads it. */
export async function dropAuthorList(tx: Tx, { redis }: Pick<Context, "redis">, authorId: string): Promise<void> {
  await redis?.invalidate(tx, (xid) => new Timelines(redis).drop("author", authorId, xid));
}
