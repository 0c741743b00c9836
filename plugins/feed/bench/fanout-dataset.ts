import { createHash } from "node:crypto";
import { Random } from "../../../src/bench/random.ts";
import type { TableRows } from "./dataset.ts";

/** One author, number 0, and those who follow them, from 1 on. */
export interface FanoutDataset {
  usernameOf(user: number): string;
  tokenOf(user: number): string;
  tables: TableRows[];
}

const BEGIN = Date.UTC(2025, 0, 1);

/** The same rows for the same options. */
export function makeFanoutDataset({ followers, seed }: { followers: number; seed: number }): FanoutDataset {
  const random = new Random(seed);
  const ids = Array.from({ length: followers + 1 }, () => random.uuid(BEGIN));
  const sessions = ids.map(() => random.uuid(BEGIN));
  const times = ids.map(() => new Date(BEGIN + random.below(300 * 86_400_000)));
  const [author = "", ...others] = ids;
  const usernameOf = (user: number) => `bench${user}`;
  const tokenOf = (user: number) => `tt_bench_${seed}_${user}`;
  return {
    usernameOf,
    tokenOf,
    tables: [
      {
        table: "users",
        columns: ["id", "username", "email", "password_hash", "follower_count", "following_count"],
        rows: () =>
          ids.map((id, user) => {
            const counts = user === 0 ? [followers, 0] : [0, 1];
            return [id, usernameOf(user), `${usernameOf(user)}@example.org`, "none", ...counts];
          }),
      },
      {
        table: "sessions",
        columns: ["id", "user_id", "token_hash", "address"],
        rows: () =>
          ids.map((id, user) => [
            sessions[user] ?? "",
            id,
            createHash("sha256").update(tokenOf(user)).digest(),
            "127.0.0.1",
          ]),
      },
      {
        table: "follows",
        columns: ["follower_id", "following_id", "created_at"],
        rows: () => others.map((id, index) => [id, author, times[index] ?? null]),
      },
    ],
  };
}
