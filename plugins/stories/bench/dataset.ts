import { createHash } from "node:crypto";
import type { Value } from "../../../src/bench/copy.ts";
import { Random } from "../../../src/bench/random.ts";

/** Who looks, and at what: stories of one author. */
export interface StoriesDataset {
  viewerIds: readonly string[];
  tokenOf(viewer: number): string;
  storyIds: readonly string[];
  tables: { table: string; columns: readonly string[]; rows(): Iterable<readonly Value[]> }[];
}

const BEGIN = Date.UTC(2025, 0, 1);
/** Milliseconds for which the stories are shown: longer than anybody measures. */
const LASTS = 7 * 24 * 3_600_000;

/** The same ids for the same options; the stories were published just now. */
export function makeStoriesDataset(options: { viewers: number; stories: number; seed: number }): StoriesDataset {
  const { viewers, stories, seed } = options;
  const random = new Random(seed);
  const ids = (count: number) => Array.from({ length: count }, () => random.uuid(BEGIN));
  const author = random.uuid(BEGIN);
  const [viewerIds, sessionIds, storyIds, mediumIds] = [ids(viewers), ids(viewers), ids(stories), ids(stories)];
  const tokenOf = (viewer: number) => `tt_bench_${seed}_${viewer}`;
  const [published, over] = [new Date(), new Date(Date.now() + LASTS)];
  return {
    viewerIds,
    tokenOf,
    storyIds,
    tables: [
      {
        table: "users",
        columns: ["id", "username", "email", "password_hash"],
        rows: () => [author, ...viewerIds].map((id, n) => [id, `bench${n}`, `bench${n}@example.org`, "none"]),
      },
      {
        table: "sessions",
        columns: ["id", "user_id", "token_hash", "address"],
        rows: () =>
          viewerIds.map((id, n) => [
            sessionIds[n] ?? "",
            id,
            createHash("sha256").update(tokenOf(n)).digest(),
            "127.0.0.1",
          ]),
      },
      {
        table: "media",
        columns: ["id", "owner_id", "purpose", "state", "content_type", "bytes", "sha256"],
        rows: () =>
          mediumIds.map((id) => [
            id,
            author,
            "story",
            "processing",
            "image/jpeg",
            1,
            createHash("sha256").update(id).digest(),
          ]),
      },
      {
        table: "stories",
        columns: ["id", "user_id", "medium_id", "audience", "status", "published_at", "expires_at"],
        rows: () => storyIds.map((id, n) => [id, author, mediumIds[n] ?? "", "everyone", "published", published, over]),
      },
    ],
  };
}
