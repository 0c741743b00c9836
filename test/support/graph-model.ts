/**
 * The contract's rules of the graph, in memory: what each change answers, and what is there after it. A test's oracle, so
 * nothing of the product is in it.
 */
import type pg from "pg";
import type { Answer } from "./client.ts";
import { waitFor } from "./server.ts";

export const CHANGES = {
  follow: ["POST", "/users/NAME/follow"],
  unfollow: ["DELETE", "/users/NAME/follow"],
  approve: ["POST", "/follow-requests/NAME/approve"],
  deny: ["POST", "/follow-requests/NAME/deny"],
  remove: ["DELETE", "/me/followers/NAME"],
  block: ["POST", "/users/NAME/block"],
  unblock: ["DELETE", "/users/NAME/block"],
  mute: ["POST", "/users/NAME/mute"],
  unmute: ["DELETE", "/users/NAME/mute"],
} as const;
export type Change = keyof typeof CHANGES;

export type GraphOperation<Name extends string = string> =
  | { who: Name; change: Change; whom: Name }
  | { who: Name; change: "private" | "public" };

/** Pairs as `ana>ben`: ana follows, asks, blocks or mutes ben. */
export interface GraphModel {
  isPrivate: Set<string>;
  follows: Set<string>;
  requests: Set<string>;
  blocks: Set<string>;
  mutes: Set<string>;
}

export const copyOf = (model: GraphModel): GraphModel => ({
  isPrivate: new Set(model.isPrivate),
  follows: new Set(model.follows),
  requests: new Set(model.requests),
  blocks: new Set(model.blocks),
  mutes: new Set(model.mutes),
});

/** Does the operation to the model. @returns what the contract says is answered. */
export function perform(model: GraphModel, operation: GraphOperation): unknown {
  const { who, change } = operation;
  if (change === "private") {
    model.isPrivate.add(who);
    return 200;
  }
  if (change === "public") {
    model.isPrivate.delete(who);
    for (const pair of [...model.requests].filter((request) => request.endsWith(`>${who}`))) {
      model.requests.delete(pair);
      model.follows.add(pair);
    }
    return 200;
  }
  const { whom } = operation as { whom: string };
  const [out, back] = [`${who}>${whom}`, `${whom}>${who}`];
  if (model.blocks.has(back)) return 404;
  switch (change as Change) {
    case "follow":
      if (model.blocks.has(out)) return 403;
      if (model.follows.has(out)) return "following";
      if (model.isPrivate.has(whom)) {
        model.requests.add(out);
        return "requested";
      }
      model.requests.delete(out);
      model.follows.add(out);
      return "following";
    case "unfollow":
      model.follows.delete(out);
      model.requests.delete(out);
      return "none";
    case "approve":
      if (model.requests.delete(back)) model.follows.add(back);
      return model.follows.has(back) ? "following" : 404;
    case "deny":
      model.requests.delete(back);
      return model.follows.has(back) ? "following" : "none";
    case "remove":
      model.follows.delete(back);
      model.requests.delete(back);
      return "none";
    case "block":
      model.blocks.add(out);
      for (const pair of [out, back]) {
        model.follows.delete(pair);
        model.requests.delete(pair);
      }
      return true;
    case "unblock":
      model.blocks.delete(out);
      return false;
    case "mute":
      model.mutes.add(out);
      return true;
    case "unmute":
      model.mutes.delete(out);
      return false;
  }
}

/** All orders of some things. */
export function* ordersOf<T>(items: readonly T[]): Generator<T[]> {
  if (items.length === 0) yield [];
  for (const [index, item] of items.entries()) {
    for (const rest of ordersOf(items.toSpliced(index, 1))) yield [item, ...rest];
  }
}

/** To compare two of them by. */
export const shown = ({ isPrivate, follows, requests, blocks, mutes }: GraphModel) =>
  JSON.stringify([isPrivate, follows, requests, blocks, mutes].map((set) => [...set].sort()));

/** What was answered, in the words of the model. */
export function told(operation: GraphOperation, { status, body }: Answer): unknown {
  if (status !== 200 || operation.change === "private" || operation.change === "public") return status;
  return body.status ?? body.blocking ?? body.muting;
}

/** What the rows say, once no job of the graph is left to do. */
export async function storedGraph(sql: pg.Pool): Promise<GraphModel> {
  await waitFor(async () => {
    const { rowCount } = await sql.query(
      "SELECT FROM pgboss.job WHERE name LIKE 'graph.%' AND state IN ('created', 'retry', 'active')",
    );
    return rowCount === 0;
  }, "the graph's jobs");
  const pairs = async (table: string, from: string, to: string) => {
    const { rows } = await sql.query(
      `SELECT a.username || '>' || b.username AS pair FROM ${table}
       JOIN users a ON a.id = ${from} JOIN users b ON b.id = ${to}`,
    );
    return new Set(rows.map((row) => String(row.pair)));
  };
  const { rows } = await sql.query("SELECT username FROM users WHERE is_private");
  return {
    isPrivate: new Set(rows.map((row) => String(row.username))),
    follows: await pairs("follows", "follower_id", "following_id"),
    requests: await pairs("follow_requests", "follower_id", "following_id"),
    blocks: await pairs("blocks", "blocker_id", "blocked_id"),
    mutes: await pairs("mutes", "muter_id", "muted_id"),
  };
}
