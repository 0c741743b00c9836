import type { Context } from "../../src/context.ts";
import type { Tx } from "../../src/db/transaction.ts";
import type { Events } from "../../src/events.ts";
import { tellAll } from "./backlog.ts";
import { appendCommentRemovals, appendNews, appendRemovals, toldOfComment } from "./log-store.ts";
import type { ToldEvent } from "./types.ts";

/** Who is told what by which event; docs/notifications.md has it as a table. */
export type Told = {
  [Name in ToldEvent]: (tx: Tx, event: Events[Name], context: Pick<Context, "enqueue">) => Promise<void>;
};

export const told: Told = {
  "follow.started": async (tx, { follower_id, following_id }) => {
    await appendRemovals(tx, [{ user_id: following_id, type: "follow_request", actor_id: follower_id }]);
    await appendNews(tx, [{ user_id: following_id, type: "follow", subject: null, actor_id: follower_id }]);
  },
  "follows.approved": async (tx, { following_id, follower_ids, started_ids }) => {
    await appendRemovals(
      tx,
      started_ids.map((actor_id) => ({ user_id: following_id, type: "follow_request", actor_id })),
    );
    await appendNews(tx, [
      ...started_ids.map((actor_id) => ({ user_id: following_id, type: "follow" as const, subject: null, actor_id })),
      ...follower_ids.map((user_id) => ({
        user_id,
        type: "follow_approved" as const,
        subject: null,
        actor_id: following_id,
      })),
    ]);
  },
  "follow.ended": async (tx, { follower_id, following_id, erased }) => {
    // What an account that goes left with others has been erased before its follows.
    if (erased) return;
    await appendRemovals(tx, [
      { user_id: following_id, type: "follow", actor_id: follower_id },
      { user_id: follower_id, type: "follow_approved", actor_id: following_id },
    ]);
  },
  "follow.requested": async (tx, { follower_id, following_id }) => {
    await appendNews(tx, [{ user_id: following_id, type: "follow_request", subject: "", actor_id: follower_id }]);
  },
  "follow.approved": async (tx, { follower_id, following_id }) => {
    await appendNews(tx, [{ user_id: follower_id, type: "follow_approved", subject: null, actor_id: following_id }]);
  },
  "follow.request_ended": (tx, { follower_id, following_id }) =>
    appendRemovals(tx, [{ user_id: following_id, type: "follow_request", actor_id: follower_id }]),

  "account.blocked": (tx, { blocker_id, blocked_id }) =>
    appendRemovals(tx, [
      { user_id: blocker_id, actor_id: blocked_id },
      { user_id: blocked_id, actor_id: blocker_id },
    ]),
  "account.muted": (tx, { muter_id, muted_id }) => appendRemovals(tx, [{ user_id: muter_id, actor_id: muted_id }]),
  "account.suspended": recount,
  "account.unsuspended": recount,
  "account.deleting": recount,

  "likes.rolled_up": async (tx, { posts }) => {
    const like = (post_id: string, author_id: string) =>
      ({ user_id: author_id, type: "like", subject: post_id }) as const;
    await appendRemovals(
      tx,
      posts.flatMap(({ post_id, author_id, unliked }) =>
        unliked.map((actor_id) => ({ ...like(post_id, author_id), actor_id })),
      ),
    );
    await appendNews(
      tx,
      posts.flatMap(({ post_id, author_id, liked }) =>
        liked.map(({ user_id, at }) => ({ ...like(post_id, author_id), actor_id: user_id, at, post_id })),
      ),
    );
  },
  "comment.created": tellOfComment,
  "comments.deleted": (tx, { comment_ids }) => appendCommentRemovals(tx, comment_ids),
  "comment.liked": async (tx, { comment_id, post_id, author_id, user_id }) => {
    const news = { user_id: author_id, type: "comment_like", subject: comment_id, actor_id: user_id } as const;
    await appendNews(tx, [{ ...news, post_id, comment_id }]);
  },
  "comment.unliked": (tx, { comment_id, author_id, user_id }) =>
    appendRemovals(tx, [{ user_id: author_id, type: "comment_like", subject: comment_id, actor_id: user_id }]),

  "mentions.changed": async (tx, { post_id, comment_id, author_id, added, removed }) => {
    const subject = comment_id ?? post_id;
    await appendRemovals(
      tx,
      removed.map((user_id) => ({ user_id, type: "mention", subject })),
    );
    const told = comment_id === null ? [] : await toldOfComment(tx, comment_id);
    const untold = added.filter((user_id) => !told.includes(user_id));
    const news = { type: "mention", subject, actor_id: author_id, post_id, comment_id } as const;
    await appendNews(
      tx,
      untold.map((user_id) => ({ ...news, user_id })),
    );
  },
  "post.deleted": async (tx, { post_id, author_id }, { enqueue }) => {
    // Its author in any case: likes may be on their way.
    await appendRemovals(tx, [{ user_id: author_id, post_id }]);
    if (!(await tellAll(tx, { post_id }))) await enqueue(tx, "notifications.spread", { post_id });
  },
};

/** One comment is told to a person once: as a reply, else as a comment, else as a mention, which comes after this. */
async function tellOfComment(tx: Tx, event: Events["comment.created"]): Promise<void> {
  const { comment_id, post_id, post_author_id, author_id, parent_id, parent_author_id, created_at } = event;
  const tell = async (user_id: string, type: "reply" | "comment", subject: string) => {
    const news = { user_id, type, subject, actor_id: author_id, at: created_at, post_id, comment_id };
    return (await appendNews(tx, [news])) > 0;
  };
  const replied = parent_id !== null && parent_author_id !== null && (await tell(parent_author_id, "reply", parent_id));
  if (replied && parent_author_id === post_author_id) return;
  await tell(post_author_id, "comment", post_id);
}

/** Once at once, and once when no transaction is left that began before: a like may be rolled up meanwhile. */
async function recount(tx: Tx, { user_id }: { user_id: string }, { enqueue }: Pick<Context, "enqueue">): Promise<void> {
  await tellAll(tx, { actor_id: user_id });
  await enqueue(tx, "notifications.spread", { actor_id: user_id });
}
