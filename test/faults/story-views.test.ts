/**
 * 10,000 views of 5 stories by 2,000 people through three servers, while Redis is emptied again and again and servers are killed. Each pair comes
 * twice and in any order, and again where no answer came. The oracle is the list of what was asked.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import pg from "pg";
import t from "tap";
import { createClient } from "../support/client.ts";
import { testDatabase } from "../support/database.ts";
import { picture } from "../support/pictures.ts";
import { run, type Server, startServer, temporaryFolder, waitFor } from "../support/server.ts";
import { redisService } from "../support/services.ts";
import { publishStory } from "../support/stories.ts";

t.setTimeout(600_000);

const PEOPLE = 2_000;
const STORIES = 5;
const VIEWS = 10_000;
const CALLERS = 48;
const FLUSHES = 12;
const KILLS = 3;

const service = await redisService(t, { own: true });
if (!service) process.exit();
const redis = new Redis(service.url);
t.teardown(() => redis.disconnect());
const database = await testDatabase(t);
const sql = new pg.Pool({ connectionString: database.url, max: 2 });
t.teardown(() => sql.end());
const env = {
  TINTYPE_DATABASE_URL: database.url,
  TINTYPE_DATA_DIR: await temporaryFolder(t),
  TINTYPE_WORKER_EMBEDDED: "true",
  TINTYPE_REDIS_URL: service.url,
  TINTYPE_REDIS_KEY_PREFIX: service.prefix,
};
const servers: Server[] = [await startServer(env)];
t.teardown(() => Promise.all(servers.map((server) => server.stop())));
servers.push(...(await Promise.all([startServer(env), startServer(env)])));
const ana = await (servers[0] as Server).client.register("ana");

const photo = await picture({ width: 36, height: 64 });
const stories: string[] = [];
for (let n = 0; n < STORIES; n++) stories.push((await publishStory(ana, photo)).id);
// 2,000 registrations would be minutes of argon2.
await sql.query(`INSERT INTO users (id, username, email, password_hash)
  SELECT uuidv7(), 'fan' || n, 'fan' || n || '@example.org', 'none' FROM generate_series(0, ${PEOPLE - 1}) AS n`);
await sql.query(`INSERT INTO sessions (id, user_id, token_hash, address)
  SELECT uuidv7(), id, sha256(('tt_' || username)::bytea), '127.0.0.1' FROM users WHERE username LIKE 'fan%'`);

/** Of each pair how often it was told that the view is new, and whether an answer was lost. */
interface Told {
  times: number;
  lost: boolean;
}
const told = new Map<string, Told>();
/** Servers that do not run just now. */
const down = new Set<number>();

/** Asks until there is an answer, each time another server. */
async function look(fan: number, story: number, turn: number): Promise<void> {
  const pair = `${stories[story]} fan${fan}`;
  const found: Told = told.get(pair) ?? { times: 0, lost: false };
  told.set(pair, found);
  for (let attempt = 0; attempt < 200; attempt++) {
    const index = (fan + turn + attempt) % servers.length;
    if (down.has(index)) continue;
    try {
      const response = await fetch(`${(servers[index] as Server).url}/api/v1/stories/${stories[story]}/view`, {
        method: "POST",
        headers: { authorization: `Bearer tt_fan${fan}` },
      });
      const body = (await response.json()) as { new_view?: boolean };
      if (response.status === 200) {
        if (body.new_view) found.times += 1;
        return;
      }
      if (response.status !== 503) throw new TypeError(`${response.status} ${JSON.stringify(body)}`);
    } catch (error) {
      if (error instanceof TypeError && /^\d/.test(error.message)) throw error;
    }
    // Perhaps it was committed.
    found.lost = true;
    await delay(50);
  }
  throw new Error(`no answer for ${pair}`);
}

t.test("each viewer is counted once, and told once, whatever fails", async (t) => {
  // Some of it twice, in any order: 10,000 views of what are fewer pairs.
  const pairs = Array.from({ length: VIEWS }, (_, n) => ({
    fan: (n * 7_919) % PEOPLE,
    story: (n * 31 + (n >> 11)) % STORIES,
  }));
  const distinct = new Set(pairs.map(({ fan, story }) => `${stories[story]} fan${fan}`));
  const asked = [...pairs, ...pairs.toReversed()].entries();
  let done = 0;
  const looking = Promise.all(
    Array.from({ length: CALLERS }, async () => {
      for (const [turn, { fan, story }] of asked) {
        await look(fan, story, turn);
        done += 1;
      }
    }),
  );
  const reached = (share: number) =>
    waitFor(async () => done >= share * 2 * VIEWS || undefined, `${share} of the views`);
  const events = [
    ...Array.from({ length: FLUSHES }, (_, n) => ({ at: (n + 1) / (FLUSHES + 2), kill: null as number | null })),
    ...Array.from({ length: KILLS }, (_, n) => ({ at: (n + 0.5) / KILLS, kill: n })),
  ].toSorted((a, b) => a.at - b.at);
  const disturbing = (async () => {
    for (const { at, kill } of events) {
      await reached(at);
      if (kill === null) {
        await redis.flushall();
        continue;
      }
      await (servers[kill] as Server).kill();
      down.add(kill);
      servers[kill] = await startServer(env);
      down.delete(kill);
    }
  })();
  await Promise.all([looking, disturbing]);

  const { rows } = await sql.query<{ pair: string }>(
    "SELECT story_id || ' ' || username AS pair FROM story_views JOIN users ON users.id = viewer_id",
  );
  t.same(new Set(rows.map(({ pair }) => pair)), distinct, "exactly those who looked");
  t.equal(rows.length, distinct.size);
  const all = [...told.values()];
  t.ok(
    all.every(({ times }) => times <= 1),
    "nobody is new twice",
  );
  t.ok(
    all.every(({ times, lost }) => times === 1 || lost),
    "and everybody once, unless an answer was lost",
  );
  t.ok(
    all.some(({ lost }) => lost),
    "some answers were lost",
  );
  const author = createClient((servers[0] as Server).url, ana.token);
  for (const id of stories) {
    const counted = [...distinct].filter((pair) => pair.startsWith(id)).length;
    t.equal((await author.request("GET", `/stories/${id}/viewers?limit=1`)).body.view_count, counted, "its rows");
  }
  const text = await Promise.all(servers.map(async ({ url }) => (await fetch(`${url}/metrics`)).text()));
  const spared = text.map((one) => Number(/^tintype_story_views_spared_total (\d+)/m.exec(one)?.[1]));
  t.ok(Math.max(...spared) > 0, `Redis has spared Postgres some: ${spared}`);
  const verified = await run(["counters", "verify", "--json"], env);
  t.match({ code: verified.code, ...JSON.parse(verified.stdout) }, { code: 0, wrong: 0 });
});
