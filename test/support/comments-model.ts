/**
 * The contract's rules of comments, in memory: what each change answers, and what is there after it. A test's oracle, so
 * nothing of the product is in it.
 */
import type pg from "pg";

/** What somebody does; posts, comments and people have names. */
export type CommentOperation = { who: string } & (
  | { change: "comment"; name: string; post: string; to: string | null }
  | { change: "delete" | "like" | "unlike"; comment: string }
  | { change: "drop"; post: string }
  | { change: "leave" }
);

interface ModelComment {
  post: string;
  author: string;
  parent: string | null;
  likes: Set<string>;
}

export interface CommentsModel {
  /** Who wrote each post. */
  posts: Map<string, string>;
  comments: Map<string, ModelComment>;
  left: Set<string>;
}

export const copyOf = ({ posts, comments, left }: CommentsModel): CommentsModel => ({
  posts: new Map(posts),
  comments: new Map([...comments].map(([id, comment]) => [id, { ...comment, likes: new Set(comment.likes) }])),
  left: new Set(left),
});

/** Does the operation to the model. @returns what the contract says is answered: a status, and for a like what it says. */
export function perform(model: CommentsModel, operation: CommentOperation): string {
  const { who } = operation;
  if (model.left.has(who)) return "401";
  switch (operation.change) {
    case "comment": {
      const to = operation.to === null ? null : model.comments.get(operation.to);
      if (!model.posts.has(operation.post) || to === undefined || (to && to.post !== operation.post)) return "404";
      const parent = to && (to.parent ?? operation.to);
      model.comments.set(operation.name, { post: operation.post, author: who, parent, likes: new Set() });
      return "201";
    }
    case "delete": {
      const comment = model.comments.get(operation.comment);
      if (!comment) return "404";
      if (comment.author !== who && model.posts.get(comment.post) !== who) return "403";
      removeComment(model, operation.comment);
      return "204";
    }
    case "like":
    case "unlike": {
      const likes = model.comments.get(operation.comment)?.likes;
      if (!likes) return "404";
      const idempotent = likes.has(who) === (operation.change === "like");
      if (operation.change === "like") likes.add(who);
      else likes.delete(who);
      return `200 ${idempotent} ${likes.size}`;
    }
    case "drop": {
      const author = model.posts.get(operation.post);
      if (author === undefined) return "404";
      if (author !== who) return "403";
      removePost(model, operation.post);
      return "204";
    }
    case "leave":
      model.left.add(who);
      for (const [id, author] of [...model.posts]) if (author === who) removePost(model, id);
      for (const [id, { author }] of [...model.comments]) if (author === who) removeComment(model, id);
      for (const { likes } of model.comments.values()) likes.delete(who);
      return "202";
  }
}

function removeComment(model: CommentsModel, id: string): void {
  model.comments.delete(id);
  for (const [reply, { parent }] of [...model.comments]) if (parent === id) model.comments.delete(reply);
}

function removePost(model: CommentsModel, id: string): void {
  model.posts.delete(id);
  for (const [comment, { post }] of [...model.comments]) if (post === id) model.comments.delete(comment);
}

/** To compare two of them by, with every count. */
export function shown({ posts, comments }: CommentsModel): string {
  const all = [...comments];
  const lines = all.map(([id, { post, author, parent, likes }]) => {
    const replies = all.filter(([, other]) => other.parent === id).length;
    return `${id} on ${post} by ${author} below ${parent}: ${replies} replies, ${likes.size} likes of ${[...likes].sort()}`;
  });
  const counts = [...posts.keys()].map((post) => {
    return `${post} has ${all.filter(([, comment]) => comment.post === post).length}`;
  });
  return [...lines, ...counts].sort().join("\n");
}

/** The same of what is stored, the counts as they are kept: a post's name is its caption, a comment's its text. */
export async function stored(sql: pg.Pool): Promise<string> {
  const { rows } = await sql.query<{ line: string }>(
    `WITH there AS (
       SELECT comments.*, parent.text AS parent_name
       FROM comments LEFT JOIN comments AS parent ON parent.id = comments.parent_id
       WHERE comments.removed_at IS NULL AND parent.removed_at IS NULL
     )
     SELECT concat(there.text, ' on ', caption, ' by ', username, ' below ', coalesce(parent_name, 'null'), ': ', reply_count,
       ' replies, ', like_count, ' likes of ', array_to_string(ARRAY(
         SELECT username FROM comment_likes JOIN users ON users.id = user_id WHERE comment_id = there.id ORDER BY username COLLATE "C"
       ), ',')) AS line
     FROM there JOIN posts ON posts.id = there.post_id JOIN users ON users.id = there.user_id
     UNION ALL SELECT concat(caption, ' has ', coalesce(comment_count, 0))
     FROM posts LEFT JOIN comment_counts ON post_id = posts.id`,
  );
  return rows
    .map(({ line }) => line)
    .sort()
    .join("\n");
}

/** What is stored though nothing of it may be: rows of what is gone. Once no job is left to do, it is nothing. */
export async function leftovers(sql: pg.Pool): Promise<unknown[]> {
  const { rows } = await sql.query(
    `SELECT 'comment' AS left_over, id FROM comments WHERE removed_at IS NOT NULL OR NOT EXISTS (SELECT FROM posts WHERE posts.id = post_id)
     UNION ALL SELECT 'reply', id FROM comments AS reply
       WHERE parent_id IS NOT NULL AND NOT EXISTS (SELECT FROM comments WHERE id = reply.parent_id AND post_id = reply.post_id AND parent_id IS NULL)
     UNION ALL SELECT 'count', post_id FROM comment_counts WHERE NOT EXISTS (SELECT FROM posts WHERE posts.id = post_id)`,
  );
  return rows;
}
