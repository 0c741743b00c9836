import { validate as isUuid } from "uuid";
import type { Context } from "../../src/context.ts";
import { coalesce } from "../../src/db/coalesce.ts";
import type { Db } from "../../src/db/transaction.ts";
import { hotEngagement, postNotFound } from "../posts/index.ts";
import { Backlog } from "./backlog.ts";
import { likesDuplicate, likesTotal } from "./metrics.ts";
import { deleteLike, insertLike, likeCounts } from "./store.ts";

export interface LikeAnswer {
  success: true;
  /** Nothing was changed. */
  idempotent: boolean;
  like_count: number;
}

/** Posts that are counted in one query. */
const BATCH = 200;

type LikesContext = Pick<Context, "db" | "emit" | "enqueue" | "log" | "notices">;

/** Likes and unlikes of one process. */
export class Likes {
  readonly #context: LikesContext;
  readonly #backlog: Backlog;
  readonly #counts: (postIds: readonly string[]) => Promise<Map<string, number>>;

  constructor(context: LikesContext) {
    this.#context = context;
    this.#backlog = new Backlog(context);
    // Not counted once a like: the log of a post that everybody likes may be thousands of rows long.
    this.#counts = coalesce((ids) => likeCounts(context.db, ids), { batch: BATCH });
  }

  /** Idempotent. @throws 404 for a post that is not there or not for the viewer's eyes. */
  async like(viewerId: string, id: string): Promise<LikeAnswer> {
    const postId = id.toLowerCase();
    const made = await this.#change(postId, (db) => insertLike(db, viewerId, postId));
    if (made) likesTotal.inc({ action: "like" });
    else likesDuplicate.inc();
    return this.#answer(postId, made);
  }

  /** Idempotent. @throws 404 as above. */
  async unlike(viewerId: string, id: string): Promise<LikeAnswer> {
    const postId = id.toLowerCase();
    const gone = await this.#change(postId, (db) => deleteLike(db, viewerId, postId));
    if (gone) likesTotal.inc({ action: "unlike" });
    return this.#answer(postId, gone);
  }

  async stop(): Promise<void> {
    await this.#backlog.stop();
  }

  async #change(postId: string, statement: (db: Db) => Promise<boolean | undefined>): Promise<boolean> {
    if (!isUuid(postId)) throw postNotFound({});
    await this.#backlog.room();
    const changed = await statement(this.#context.db);
    if (changed === undefined) throw postNotFound({});
    if (changed) {
      this.#backlog.appended();
      // So that one's own like is in the next feed that this server gives.
      hotEngagement(this.#context).forget(postId);
    }
    return changed;
  }

  /** The count is read by a query that begins now, so one's own like is in it. */
  async #answer(postId: string, changed: boolean): Promise<LikeAnswer> {
    const counts = await this.#counts([postId]);
    return { success: true, idempotent: !changed, like_count: counts.get(postId) ?? 0 };
  }
}
