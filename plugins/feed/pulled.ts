import { sql } from "kysely";
import type { Context } from "../../src/context.ts";
import type { Tx } from "../../src/db/transaction.ts";
import { settled } from "./store.ts";

declare module "../../src/notices.ts" {
  interface NoticeTopics {
    /** An author is pulled from now on, or pushed again. */
    "feed.pulled": "user_id";
  }
}

/** An author that is pulled is pushed again below this share of the threshold, so that one at the edge stays what it is. */
const MARGIN = 0.9;

/**
 * Decides, in the transaction that publishes a post, whether its author is pulled from now on or pushed again. It holds
 * the author's account, so that the number of followers is that of this moment.
 *
 * Pushed → pulled: posts go on being pushed until every server knows (PULL_GRACE), and what was pushed before is in the
 * timelines and in the author's list: readers drop what comes twice. Pulled → pushed: a timeline that was built while the
 * author was pulled lacks what was posted then, so whoever reads it goes on pulling until it is built anew.
 */
export async function settlePull(
  tx: Tx,
  { config, notices }: Pick<Context, "config" | "notices">,
  authorId: string,
): Promise<void> {
  const threshold = config.feed.fanout_threshold;
  const { numAffectedRows } = await sql`
    WITH author AS (SELECT id, follower_count FROM users WHERE id = ${authorId}), returned AS (
      UPDATE pulled_authors SET returned_xid = pg_current_xact_id()
      WHERE user_id = ${authorId} AND returned_xid IS NULL
        AND (SELECT follower_count FROM author) < ${threshold * MARGIN}::float8
    )
    INSERT INTO pulled_authors (user_id, pulled_since) SELECT id, clock_timestamp() FROM author
    WHERE follower_count >= ${threshold}
    ON CONFLICT (user_id) DO UPDATE SET pulled_since = EXCLUDED.pulled_since, returned_xid = NULL
    WHERE pulled_authors.returned_xid IS NOT NULL`.execute(tx);
  if (numAffectedRows === 1n) await notices.tell(tx, "feed.pulled", authorId);
}

/** Whether a post that was published then need not be pushed: every server pulls its author. */
export async function isPulledOnly(
  { db }: Pick<Context, "db">,
  post: { author_id: string; published_at: Date },
): Promise<boolean> {
  const row = await db
    .selectFrom("pulled_authors")
    .select("user_id")
    .where("user_id", "=", post.author_id)
    .where("returned_xid", "is", null)
    .where(settled(sql`${post.published_at}::timestamptz`))
    .executeTakeFirst();
  return row !== undefined;
}

/** Milliseconds after which the list is read again, in the background; and after which nobody goes on without. Below PULL_GRACE. */
const REFRESH_AFTER = 2_000;
const KNOWN_FOR = 6_000;

/** All authors that are pulled, and those that were: with the transaction since which they are pushed again. */
export type PulledAuthors = ReadonlyMap<string, { returned: number | null }>;

/** The pulled authors as this process knows them: few, and asked for at every read. */
export class PulledList {
  readonly #context: Pick<Context, "bulkhead" | "notices">;
  #notices = 0;
  #known: PulledAuthors = new Map();
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | null = null;

  constructor(context: Pick<Context, "bulkhead" | "notices">) {
    this.#context = context;
    context.notices.on("feed.pulled", () => {
      this.#notices++;
      this.#readAt = Number.NEGATIVE_INFINITY;
    });
  }

  async get(): Promise<PulledAuthors> {
    const age = performance.now() - this.#readAt;
    if (age > KNOWN_FOR) await this.#read();
    else if (age > REFRESH_AFTER) this.#read().catch(() => undefined);
    return this.#known;
  }

  #read(): Promise<void> {
    this.#reading ??= this.#readOnce().finally(() => {
      this.#reading = null;
    });
    return this.#reading;
  }

  async #readOnce(): Promise<void> {
    const asked = performance.now();
    const notices = this.#notices;
    const rows = await this.#context.bulkhead.run((db) =>
      db.selectFrom("pulled_authors").select(["user_id", "returned_xid"]).execute(),
    );
    this.#known = new Map(
      rows.map(({ user_id, returned_xid }) => [
        user_id,
        { returned: returned_xid === null ? null : Number(returned_xid) },
      ]),
    );
    // What a notice told of meanwhile may not be in it.
    if (notices === this.#notices) this.#readAt = asked;
  }
}
