import type pg from "pg";
import type { KeptAnswer } from "../../../src/bench/load/plan.ts";
import { OperationError } from "../../../src/errors.ts";
import type { Dataset } from "./dataset.ts";
import { type FeedBody, feedIn } from "./requests.ts";

const TICKET = /\?t=([\w-]+)/g;

/**
 * Looks whether answers that were kept under load are their viewers' own: each post is by somebody whom the viewer follows,
 * follows for a while (`passing`) or is, and each ticket in the URLs of pictures is the viewer's and nobody else's.
 * @param viewers by the number of the request. @throws OperationError for one that is not.
 */
export function verifyAnswers(
  dataset: Dataset,
  kept: readonly KeptAnswer[],
  options: { viewers: readonly number[]; passing: (viewer: number) => number | undefined },
): void {
  const owners = new Map<string, number>();
  for (const answer of kept) {
    const viewer = options.viewers[answer.request] ?? -1;
    const { items } = feedIn(answer);
    const passing = options.passing(viewer);
    for (const { id, author } of items) {
      const user = Number(author.username.replace("bench", ""));
      if (user === viewer || user === passing || dataset.follows(viewer, user)) continue;
      throw new OperationError(`the feed of ${dataset.usernameOf(viewer)} shows ${id} of ${author.username}`);
    }
    for (const [, ticket = ""] of answer.body.toString().matchAll(TICKET)) {
      const owner = owners.get(ticket) ?? viewer;
      owners.set(ticket, owner);
      if (owner !== viewer) throw new OperationError(`two viewers were given the same ticket: ${ticket}`);
    }
  }
}

/**
 * Compares first pages with what Postgres says, by a query that has nothing in common with the product's.
 * @throws OperationError for one that is another.
 */
export async function verifyPages(
  client: pg.ClientBase,
  dataset: Dataset,
  pages: readonly { viewer: number; body: FeedBody }[],
): Promise<void> {
  for (const { viewer, body } of pages) {
    const { rows } = await client.query<{ id: string }>(`${FEED} LIMIT $2`, [dataset.idOf(viewer), 20]);
    const [expected, shown] = [rows.map(({ id }) => id).join(), body.items.map(({ id }) => id).join()];
    if (expected === shown && !body.degraded) continue;
    throw new OperationError(
      `the feed of ${dataset.usernameOf(viewer)} is ${body.degraded ? "degraded" : `${shown}, and should be ${expected}`}`,
    );
  }
}

/** A whole feed as anybody would write it down. $1: the viewer. */
export const FEED = `
  SELECT posts.id, posts.published_at FROM posts
  WHERE status = 'published'
    AND (user_id = $1 OR user_id IN (SELECT following_id FROM follows WHERE follower_id = $1))
  ORDER BY published_at DESC, id DESC`;
