import { validate as isUuid } from "uuid";
import type { Context } from "../../src/context.ts";
import { coalesce } from "../../src/db/coalesce.ts";
import type { Db } from "../../src/db/transaction.ts";
import { withAnswer } from "../../src/http/idempotency.ts";
import { hotEngagement, postNotFound, requirePublished } from "../posts/index.ts";
import { Backlog } from "./backlog.ts";
import { likesDuplicate, likesTotal } from "./metrics.ts";
import { type Changed, deleteLike, insertLike, likeCounts } from "./store.ts";

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

  /** Idempotent. @throws 404 for a post that is not there or not for the viewer's eyes, 409 for one's own before it is published. */
  async like(viewerId: string, postId: string): Promise<LikeAnswer> {
    const answer = await this.#change(postId, (db, id) => insertLike(db, viewerId, id));
    if (answer.idempotent) likesDuplicate.inc();
    else likesTotal.inc({ action: "like" });
    return answer;
  }

  /** Idempotent. @throws 404 and 409 as above. */
  async unlike(viewerId: string, postId: string): Promise<LikeAnswer> {
    const answer = await this.#change(postId, (db, id) => deleteLike(db, viewerId, id));
    if (!answer.idempotent) likesTotal.inc({ action: "unlike" });
    return answer;
  }

  async stop(): Promise<void> {
    await this.#backlog.stop();
  }

  async #change(
    postId: string,
    statement: (db: Db, postId: string) => Promise<Changed | undefined>,
  ): Promise<LikeAnswer> {
    if (!isUuid(postId)) throw postNotFound({});
    await this.#backlog.room();
    const answer = await withAnswer<LikeAnswer>(this.#context.db, 200, async (db) => {
      const { changed } = requirePublished(await statement(db, postId));
      return { success: true, idempotent: !changed, like_count: await this.#count(db, postId) };
    });
    if (!answer.idempotent) {
      this.#backlog.appended();
      // So that one's own like is in the next feed that this server gives.
      hotEngagement(this.#context).forget(postId);
    }
    return answer;
  }

  /** By a query that begins now, so that one's own like is in it; in the transaction, where the like is not committed yet. */
  async #count(db: Db, postId: string): Promise<number> {
    const counts = db === this.#context.db ? await this.#counts([postId]) : await likeCounts(db, [postId]);
    return counts.get(postId) ?? 0;
  }
}
