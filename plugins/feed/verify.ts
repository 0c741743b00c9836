import { setTimeout as delay } from "node:timers/promises";
import limitTo from "p-limit";
import { batchesOf } from "../../src/batches.ts";
import type { Context } from "../../src/context.ts";
import type { RedisStore } from "../../src/redis/redis.ts";
import { listPublished, type PublishedPosition } from "../posts/index.ts";
import { type Entry, entryOf, newestFirst } from "./entries.ts";
import { CAPACITY, SLACK } from "./timeline-scripts.ts";
import { type Line, Timelines } from "./timelines.ts";
import { allowedPosts, fanningOut, requiredPosts } from "./verify-store.ts";

/** Lines that are looked at, at once. */
const AT_ONCE = 4;
const BATCH = 200;
/** Differences that are looked at again together, which bounds what is remembered. */
const MOST_SUSPECTS = 20_000;
/** The most that a line has, and one more. */
const MOST_ENTRIES = CAPACITY + SLACK + 1;
/**
 * Milliseconds between the two looks: by then this process knows if all that Redis holds became void. And how long it waits
 * for jobs.
 */
const SETTLE = 2_500;
const PATIENCE = 60_000;
const LOOK_EVERY = 250;

export interface Difference {
  /** Whose timeline; of an author's list the author. */
  viewer: string;
  post_id: string;
  /** missing: readers are not shown it. stray: it does not belong there; readers drop it, or are shown it twice. */
  kind: "missing" | "stray";
}

export interface VerifyOptions {
  /** Only this account's. */
  userId: string | null;
  signal: AbortSignal;
  /** Told how many lists were looked at. */
  onProgress: (looked: number) => void;
  /** Told of differences as they are found. */
  onDifferences: (found: readonly Difference[]) => Promise<void>;
}

export interface Verified {
  /** Timelines, and lists of pulled authors. */
  timelines: number;
  entries: number;
  /** Posts that may differ, but whose jobs had not ended. */
  unsettled: number;
}

interface Look {
  entries: number;
  differences: Difference[];
}

type Suspect = { line: Line; id: string; differences: readonly Difference[] };

/**
 * Holds what lies in Redis against Postgres, while people read and post. Whatever differs is looked at once more when the
 * jobs of its post have ended, and is told if it differs then too.
 * @throws RedisUnavailableError
 */
export async function verifyTimelines(
  context: Pick<Context, "db" | "bulkhead"> & { redis: RedisStore },
  options: VerifyOptions,
): Promise<Verified> {
  const verifier = new Verifier(context, options);
  await verifier.run();
  return verifier.verified;
}

class Verifier {
  readonly verified: Verified = { timelines: 0, entries: 0, unsettled: 0 };
  readonly #context: Pick<Context, "db" | "bulkhead">;
  readonly #options: VerifyOptions;
  readonly #timelines: Timelines;
  readonly #limit = limitTo(AT_ONCE);
  #suspects: Suspect[] = [];
  #suspected = 0;

  constructor(context: Pick<Context, "db" | "bulkhead"> & { redis: RedisStore }, options: VerifyOptions) {
    this.#context = context;
    this.#options = options;
    this.#timelines = new Timelines(context.redis);
  }

  async run(): Promise<void> {
    const { signal, onProgress } = this.#options;
    for (const line of ["timeline", "author"] as const) {
      for await (const ids of batchesOf(this.#ids(line), BATCH)) {
        signal.throwIfAborted();
        await this.#limit.map(ids, (id) => this.#lookFirst(line, id));
        onProgress(this.verified.timelines);
        if (this.#suspected >= MOST_SUSPECTS) await this.#lookAgain();
      }
    }
    await this.#lookAgain();
  }

  async *#ids(line: Line): AsyncIterable<string> {
    const { userId } = this.#options;
    if (userId === null) yield* this.#timelines.ids(line);
    else yield userId;
  }

  async #lookFirst(line: Line, id: string): Promise<void> {
    const look = await this.#look(line, id);
    if (!look) return;
    this.verified.timelines += 1;
    this.verified.entries += look.entries;
    if (look.differences.length === 0) return;
    this.#suspects.push({ line, id, differences: look.differences });
    this.#suspected += look.differences.length;
  }

  /** Redis first: what is published between the two is missing, until it is looked at again. */
  async #look(line: Line, id: string): Promise<Look | null> {
    const lying = await this.#timelines.peek(line, id);
    if (lying === null) return null;
    const { entries, complete, built } = lying;
    const last = complete ? undefined : entries.at(-1);
    const there = new Set<string>();
    const strays: Difference[] = [];
    const named = (entry: Entry, kind: Difference["kind"]) => ({ viewer: id, post_id: entry.id, kind });
    for (const entry of entries) {
      if (there.has(nameOf(entry))) strays.push(named(entry, "stray"));
      there.add(nameOf(entry));
    }
    const differences = await this.#context.bulkhead.run(async (db) => {
      const limit = MOST_ENTRIES;
      const required = entriesOf(
        line === "timeline"
          ? await requiredPosts(db, id, { built, limit })
          : await listPublished(db, { userId: id, limit, after: null }),
      );
      const missing = required.filter(
        (entry) => !there.has(nameOf(entry)) && (last === undefined || newestFirst(entry, last) < 0),
      );
      const known = new Set(required.map(nameOf));
      const others = entries.filter((entry) => !known.has(nameOf(entry)));
      const allowed =
        line === "timeline" && others.length > 0
          ? await allowedPosts(
              db,
              id,
              others.map(({ id }) => id),
            )
          : [];
      for (const entry of entriesOf(allowed)) known.add(nameOf(entry));
      strays.push(...others.filter((entry) => !known.has(nameOf(entry))).map((entry) => named(entry, "stray")));
      return [...missing.map((entry) => named(entry, "missing")), ...strays];
    });
    return { entries: entries.length, differences };
  }

  async #lookAgain(): Promise<void> {
    const suspects = this.#suspects;
    this.#suspects = [];
    this.#suspected = 0;
    if (suspects.length === 0) return;
    const unsettled = await this.#untilSettled(suspects);
    await this.#limit.map(suspects, async ({ line, id, differences }) => {
      const now = new Set((await this.#look(line, id))?.differences.map(sameness));
      const left = differences.filter((difference) => now.has(sameness(difference)));
      const found = left.filter(({ post_id }) => !unsettled.has(post_id));
      this.verified.unsettled += left.length - found.length;
      if (found.length > 0) await this.#options.onDifferences(found);
    });
  }

  /** Waits for the jobs of what differs. @returns the posts whose jobs did not end. */
  async #untilSettled(suspects: readonly Suspect[]): Promise<Set<string>> {
    const { signal } = this.#options;
    const deadline = performance.now() + PATIENCE;
    await delay(SETTLE, undefined, { signal });
    let posts = [...new Set(suspects.flatMap(({ differences }) => differences.map(({ post_id }) => post_id)))];
    for (;;) {
      const under = await fanningOut(this.#context.db, posts);
      if (under.size === 0 || performance.now() > deadline) return under;
      // What was fanned out once may differ no more: only the others are asked for again.
      posts = [...under];
      await delay(LOOK_EVERY, undefined, { signal });
    }
  }
}

function entriesOf(posts: readonly PublishedPosition[]): Entry[] {
  return posts.map(({ published_at, id }) => entryOf({ at: published_at, id }));
}

function sameness({ kind, post_id }: Difference): string {
  return `${kind} ${post_id}`;
}

function nameOf({ at, id }: Entry): string {
  return `${at} ${id}`;
}
