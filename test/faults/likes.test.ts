/** Likes and unlikes while servers and workers are killed. Of a like that was not answered either may be so, of the others nothing is lost. */

import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import t from "tap";
import { createClient, type Json } from "../support/client.ts";
import { testDatabase } from "../support/database.ts";
import { exactly } from "../support/exactly.ts";
import { picture } from "../support/pictures.ts";
import { run, type Server, start, startServer, temporaryFolder, waitFor } from "../support/server.ts";
import { publish } from "../support/service.ts";

t.setTimeout(300_000);

const PEOPLE = 20;
/** Likes and unlikes of each, all of a few posts. */
const ROUNDS = 60;
const KILLS = 6;

const database = await testDatabase(t);
const sql = new pg.Pool({ connectionString: database.url, max: 2 });
t.teardown(() => sql.end());
const env = {
  TINTYPE_DATABASE_URL: database.url,
  TINTYPE_DATA_DIR: await temporaryFolder(t),
  TINTYPE_WORKER_EMBEDDED: "false",
  TINTYPE_LIMITS_ENABLED: "false",
};
const servers: Server[] = await Promise.all([startServer(env), startServer(env)]);
let worker = start(["worker"], env);
t.teardown(async () => {
  for (const server of servers) await server.stop();
  await worker.stop();
});
const ana = await (servers[0] as Server).client.register("ana");
const photo = await picture({ width: 32, height: 24 });
const hot = await publish(ana, [photo]);
const other = await publish(ana, [photo]);
const people = await Promise.all(
  Array.from({ length: PEOPLE }, (_, n) => (servers[n % 2] as Server).client.register(`fan${n}`)),
);

/** What may be so of each person and post: both, where an answer was lost. */
const possible = new Map<string, Set<boolean>>();
let lost = 0;

async function change(n: number, round: number): Promise<void> {
  const { token, id } = people[n] as (typeof people)[number];
  const post = round % 4 === 3 ? other.id : hot.id;
  const likes = (n * 7 + round * 3) % 5 < 3;
  const pair = `${post} ${id}`;
  const before = possible.get(pair) ?? new Set([false]);
  const { url } = servers[(n + round) % 2] as Server;
  let answer: Json;
  try {
    answer = await createClient(url, token).request(likes ? "POST" : "DELETE", `/posts/${post}/like`);
  } catch {
    lost += 1;
    possible.set(pair, new Set([...before, likes]));
    await delay(100);
    return;
  }
  if (answer.status === 503) {
    possible.set(pair, new Set([...before, likes]));
    return;
  }
  if (answer.status !== 200) throw new Error(`${answer.status} ${answer.bytes}`);
  if (!before.has(answer.body.idempotent === likes)) {
    throw new Error(`${pair} was ${[...before]}, and ${likes} is answered ${JSON.stringify(answer.body)}`);
  }
  possible.set(pair, new Set([likes]));
}

t.test("kill -9 of servers and workers while people like and unlike", async (t) => {
  let done = false;
  const liking = Promise.all(
    people.map(async (_, n) => {
      for (let round = 0; round < ROUNDS || !done; round++) await change(n, round);
    }),
  );
  for (let kill = 0; kill < KILLS; kill++) {
    await delay(700);
    if (kill % 2 === 0) {
      await worker.kill();
      worker = start(["worker"], env);
    } else {
      const index = (kill >> 1) % 2;
      await (servers[index] as Server).kill();
      servers[index] = await startServer(env);
    }
  }
  done = true;
  await liking;
  t.ok(lost > 0, "answers were lost");
  const { rows } = await sql.query<{ pair: string }>("SELECT post_id || ' ' || user_id AS pair FROM likes");
  const stored = new Set(rows.map(({ pair }) => pair));
  for (const [pair, states] of possible) t.ok(states.has(stored.has(pair)), pair);
  t.ok(
    [...stored].every((pair) => possible.has(pair)),
    "nobody else likes them",
  );
  const client = createClient((servers[0] as Server).url, ana.token);
  for (const { id } of [hot, other]) {
    const counted = [...stored].filter((pair) => pair.startsWith(id)).length;
    t.equal((await client.request("GET", `/posts/${id}`)).body.like_count, counted, "the number of rows");
  }
  await waitFor(
    async () => (await sql.query("SELECT FROM like_log LIMIT 1")).rowCount === 0,
    "the log to be rolled up",
  );
  const verified = await run(["counters", "verify", "--json"], env);
  t.match({ code: verified.code, ...JSON.parse(verified.stdout) }, { code: 0, wrong: 0 });
});

t.test("counters verify gives no false alarm while people like", async (t) => {
  let done = false;
  const liking = people.map(async (_, n) => {
    for (let round = 0; !done; round++) await change(n, round);
  });
  for (let look = 0; look < 3; look++) {
    const verified = await run(["counters", "verify", "--json"], env);
    t.match({ code: verified.code, ...JSON.parse(verified.stdout) }, { code: 0, wrong: 0, differences: exactly() });
  }
  await sql.query("UPDATE like_counts SET like_count = like_count + 5 WHERE post_id = $1", [hot.id]);
  const repaired = await run(["counters", "verify", "--repair", "--json"], env);
  t.match(
    { code: repaired.code, ...JSON.parse(repaired.stdout) },
    { code: 0, wrong: 1, repaired: 1, differences: exactly({ counter: "posts.like_count", id: hot.id }) },
  );
  done = true;
  await Promise.all(liking);
  const { rows } = await sql.query("SELECT count(*)::int AS count FROM likes WHERE post_id = $1", [hot.id]);
  const client = createClient((servers[1] as Server).url, ana.token);
  t.equal(
    (await client.request("GET", `/posts/${hot.id}`)).body.like_count,
    rows[0].count,
    "mended while people liked on",
  );
});
