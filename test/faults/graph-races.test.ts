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
import {
  CHANGES,
  type Change,
  copyOf,
  type GraphModel,
  type GraphOperation,
  ordersOf,
  perform,
  shown,
  storedGraph,
  told,
} from "../support/graph-model.ts";
import { startServer, temporaryFolder } from "../support/server.ts";

const NAMES = ["ana", "ben", "cleo"] as const;
type Name = (typeof NAMES)[number];

type Operation = GraphOperation<Name> & { server: 0 | 1 };

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

/** Each person's own view of everybody must be what the model says, the counters too. */
async function assertViews(model: GraphModel): Promise<void> {
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
  let model = await storedGraph(sql);

  await fc.assert(
    fc.asyncProperty(fc.array(round, { minLength: 3, maxLength: 8 }), async (history) => {
      for (const operations of history) {
        const answers = await Promise.all(operations.map(ask));
        const answered = operations.map((operation, index) => told(operation, answers[index] as Answer));
        const now = await storedGraph(sql);
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
