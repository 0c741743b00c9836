/**
 * Opposite changes of the graph at once, over two servers. The oracle is a model in memory that knows the contract's
 * rules alone: what was answered, and what is there afterwards, must be what the model does in one of the orders in
 * which the operations may have happened.
 */
import * as fc from "fast-check";
import pg from "pg";
import t from "tap";
import { type Answer, type Client, createClient } from "../support/client.ts";
import { testDatabase } from "../support/database.ts";
import { startServer, temporaryFolder, waitFor } from "../support/server.ts";

const NAMES = ["ana", "ben", "cleo"] as const;
type Name = (typeof NAMES)[number];

const CHANGES = {
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
type Change = keyof typeof CHANGES;

type Operation =
  | { who: Name; change: Change; whom: Name; server: 0 | 1 }
  | { who: Name; change: "private" | "public"; server: 0 | 1 };

/** Pairs as `ana>ben`: ana follows, asks, blocks or mutes ben. */
interface Model {
  isPrivate: Set<string>;
  follows: Set<string>;
  requests: Set<string>;
  blocks: Set<string>;
  mutes: Set<string>;
}

const copyOf = (model: Model): Model => ({
  isPrivate: new Set(model.isPrivate),
  follows: new Set(model.follows),
  requests: new Set(model.requests),
  blocks: new Set(model.blocks),
  mutes: new Set(model.mutes),
});

/** Does the operation to the model. @returns what the contract says is answered. */
function perform(model: Model, operation: Operation): unknown {
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
  const { whom } = operation as { whom: Name };
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

function* ordersOf<T>(items: readonly T[]): Generator<T[]> {
  if (items.length === 0) yield [];
  for (const [index, item] of items.entries()) {
    for (const rest of ordersOf(items.toSpliced(index, 1))) yield [item, ...rest];
  }
}

const shown = ({ isPrivate, follows, requests, blocks, mutes }: Model) =>
  JSON.stringify([isPrivate, follows, requests, blocks, mutes].map((set) => [...set].sort()));

/** What was answered, in the words of the model. */
function told(operation: Operation, { status, body }: Answer): unknown {
  if (status !== 200 || operation.change === "private" || operation.change === "public") return status;
  return body.status ?? body.blocking ?? body.muting;
}

const database = await testDatabase(t);
const sql = new pg.Pool({ connectionString: database.url, max: 2 });
t.teardown(() => sql.end());
const env = {
  TINTYPE_DATABASE_URL: database.url,
  TINTYPE_DATA_DIR: await temporaryFolder(t),
  TINTYPE_WORKER_EMBEDDED: "true",
};
const servers = await Promise.all([startServer(env), startServer(env)]);
t.teardown(() => Promise.all(servers.map((server) => server.stop())));

const people = new Map<Name, [Client, Client]>();
for (const name of NAMES) {
  const { token } = await servers[0].client.register(name);
  people.set(name, [createClient(servers[0].url, token), createClient(servers[1].url, token)]);
}

function ask(operation: Operation): Promise<Answer> {
  const client = (people.get(operation.who) as [Client, Client])[operation.server];
  if (!("whom" in operation)) {
    return client.request("PATCH", "/me", { json: { is_private: operation.change === "private" } });
  }
  const [method, path] = CHANGES[operation.change];
  return client.request(method, path.replace("NAME", operation.whom));
}

/** What the rows say, once no job of the graph is left to do. */
async function stored(): Promise<Model> {
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

/** Each person's own view of everybody must be what the model says, the counters too. */
async function assertViews(model: Model): Promise<void> {
  for (const viewer of NAMES) {
    const client = (people.get(viewer) as [Client, Client])[1];
    for (const other of NAMES) {
      const { status, body } = await client.request("GET", `/users/${other}`);
      const seen = status === 200 && [body.relationship, body.is_private, body.follower_count, body.following_count];
      const [out, back] = [`${viewer}>${other}`, `${other}>${viewer}`];
      const expected = !model.blocks.has(back) && [
        {
          following: model.follows.has(out),
          requested: model.requests.has(out),
          followed_by: model.follows.has(back),
          blocking: model.blocks.has(out),
          muting: model.mutes.has(out),
        },
        model.isPrivate.has(other),
        [...model.follows].filter((pair) => pair.endsWith(`>${other}`)).length,
        [...model.follows].filter((pair) => pair.startsWith(`${other}>`)).length,
      ];
      if (JSON.stringify(seen) !== JSON.stringify(expected)) {
        throw new Error(`${viewer} sees of ${other} ${JSON.stringify(seen)}, not ${JSON.stringify(expected)}`);
      }
    }
  }
}

t.test("whatever happens at once, happened in some order", async (t) => {
  const server = fc.constantFrom(0 as const, 1 as const);
  // The likelier a change meets its opposite, the more there is to find: a round is about two people, and often about these.
  const often: Change[] = ["follow", "follow", "unfollow", "approve", "approve"];
  const change = fc.constantFrom(...often, ...(Object.keys(CHANGES) as Change[]));
  const privacy = fc.constantFrom("private" as const, "public" as const);
  const round = fc.shuffledSubarray([...NAMES], { minLength: 2, maxLength: 2 }).chain(([one, other]) => {
    const pair = fc.constantFrom({ who: one, whom: other }, { who: other, whom: one });
    const between = fc.tuple(pair, change, server).map(([who, change, server]) => ({ ...who, change, server }));
    const alone = fc.record({ who: fc.constantFrom(one, other), change: privacy, server });
    return fc.array(fc.oneof({ weight: 7, arbitrary: between }, { weight: 1, arbitrary: alone }), {
      minLength: 2,
      maxLength: 5,
    }) as fc.Arbitrary<Operation[]>;
  });
  let [rounds, raced] = [0, 0];
  let model = await stored();

  await fc.assert(
    fc.asyncProperty(fc.array(round, { minLength: 3, maxLength: 8 }), async (history) => {
      for (const operations of history) {
        const answers = await Promise.all(operations.map(ask));
        const answered = operations.map((operation, index) => told(operation, answers[index] as Answer));
        const now = await stored();
        const outcomes = [...ordersOf(operations.map((operation, index) => ({ operation, index })))].map((order) => {
          const end = copyOf(model);
          const said: unknown[] = [];
          for (const { operation, index } of order) said[index] = perform(end, operation);
          return { end, said };
        });
        const explained = outcomes.some(
          ({ end, said }) => shown(end) === shown(now) && JSON.stringify(said) === JSON.stringify(answered),
        );
        if (!explained) {
          throw new Error(
            `no order explains it: ${shown(model)} -> ${JSON.stringify(operations)} answered ${JSON.stringify(answered)} -> ${shown(now)}`,
          );
        }
        rounds++;
        if (new Set(outcomes.map(({ end, said }) => shown(end) + JSON.stringify(said))).size > 1) raced++;
        model = now;
      }
      await assertViews(model);
    }),
    // Each run goes on from the graph of the one before, so a failure is not made smaller but shown as it was.
    { numRuns: 25, endOnFailure: true },
  );
  t.ok(rounds >= 75, `${rounds} rounds`);
  t.ok(raced > rounds / 10, `the order mattered in ${raced} of ${rounds}`);
});
