import { createHash } from "node:crypto";
import type { Value } from "../../../src/bench/copy.ts";
import { Random } from "../../../src/bench/random.ts";

/** Who likes, and what: posts of one author, who is number 0. */
export interface LikesDataset {
  tokenOf(liker: number): string;
  postIds: readonly string[];
  tables: { table: string; columns: readonly string[]; rows(): Iterable<readonly Value[]> }[];
}

const BEGIN = Date.UTC(2025, 0, 1);

/** The same rows for the same options. */
export function makeLikesDataset({
  likers,
  posts,
  seed,
}: {
  likers: number;
  posts: number;
  seed: number;
}): LikesDataset {
  const random = new Random(seed);
  const people = Array.from({ length: likers + 1 }, () => random.uuid(BEGIN));
  const sessions = people.map(() => random.uuid(BEGIN));
  const postIds = Array.from({ length: posts }, (_, n) => random.uuid(BEGIN + n));
  const tokenOf = (liker: number) => `tt_bench_${seed}_${liker + 1}`;
  return {
    tokenOf,
    postIds,
    tables: [
      {
        table: "users",
        columns: ["id", "username", "email", "password_hash", "post_count"],
        rows: () => people.map((id, n) => [id, `bench${n}`, `bench${n}@example.org`, "none", n === 0 ? posts : 0]),
      },
      {
        table: "sessions",
        columns: ["id", "user_id", "token_hash", "address"],
        rows: () =>
          people.map((id, n) => [
            sessions[n] ?? "",
            id,
            createHash("sha256")
              .update(tokenOf(n - 1))
              .digest(),
            "127.0.0.1",
          ]),
      },
      {
        table: "posts",
        columns: ["id", "user_id", "status", "created_at", "published_at"],
        rows: () =>
          postIds.map((id, n) => [id, people[0] ?? "", "published", new Date(BEGIN + n), new Date(BEGIN + n)]),
      },
    ],
  };
}
