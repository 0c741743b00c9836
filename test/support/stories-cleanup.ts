import type pg from "pg";
import { postForm, type SignedIn } from "./client.ts";
import { waitFor } from "./server.ts";

/** Posts a picture as a story, and waits until it is published or has failed. @returns its id and that of its medium. */
export async function postStory(author: SignedIn, photo: Buffer): Promise<{ id: string; medium: string }> {
  const posted = await author.request("POST", "/stories", { form: postForm([photo]) });
  if (posted.status !== 202) throw new Error(`story: ${posted.status} ${posted.bytes}`);
  const id = String(posted.body.story_id);
  return waitFor(async () => {
    const { body } = await author.request("GET", `/stories/${id}`);
    return body.status !== "processing" && { id, medium: String(body.media[0].id) };
  }, `story ${id} to be settled`);
}

/** Makes these stories, or all that are published, older by an interval such as `25 hours`. */
export async function age(sql: pg.Pool, interval: string, ids: readonly string[] | null = null): Promise<void> {
  await sql.query(
    `UPDATE stories SET created_at = created_at - $1::interval, published_at = published_at - $1::interval,
       expires_at = expires_at - $1::interval, failed_at = failed_at - $1::interval WHERE $2::uuid[] IS NULL OR id = ANY($2)`,
    [interval, ids],
  );
}

/** Writes stories that were over an hour ago, with media that have no objects. */
export async function writeExpired(sql: pg.Pool, author: { id: string }, count: number): Promise<void> {
  await sql.query(
    `WITH made AS (
       INSERT INTO media (id, owner_id, purpose, state, content_type, bytes, sha256, width, height, thumbhash)
       SELECT gen_random_uuid(), $1, 'story', 'ready', 'image/jpeg', 1, '\\x', 9, 16, '' FROM generate_series(1, $2) RETURNING id)
     INSERT INTO stories (id, user_id, medium_id, audience, status, published_at, expires_at)
     SELECT gen_random_uuid(), $1, id, 'everyone', 'published', now() - interval '25 hours', now() - interval '1 hour'
     FROM made`,
    [author.id, count],
  );
}
