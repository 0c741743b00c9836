/**
 * `npm run measure:stories-cleanup [-- --stories 100000]`: what `tintype stories cleanup` takes for so many stories that are over, of three
 * views each, and for two that 200,000 have seen; and how long a worker then takes for the objects of 2,000 pictures, as files. Starts servers
 * of its own on empty data dirs. Prints stories and pictures a second, and the peak of the command's memory (resident set) against that of the
 * same command with a thousand stories. Linux only.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { objectKeys } from "../plugins/media/keys.ts";
import { type BenchDatabase, openBenchDatabase } from "../src/bench/database.ts";
import { describeMachine, formatReport, judged } from "../src/bench/report.ts";
import { startBenchServer } from "../src/bench/server.ts";

const { values } = parseArgs({ options: { stories: { type: "string", default: "100000" } } });
const stories = Number(values.stories);
if (!(Number.isInteger(stories) && stories >= 2_000)) throw new Error("--stories wants 2000 or more");

const EXECUTABLE = join(import.meta.dirname, "../bin/tintype.js");
const FEW = 1_000;
const VIEWS = 3;
const PICTURES = 2_000;
/** Bytes of each object. */
const OBJECT = 20_000;
const SEEN_BY_MANY = { stories: 2, views: 200_000 };
/** Of the command with all stories against the same with few: it must not grow with them. */
const GOAL = 1.5;

const say = (line: string) => process.stderr.write(`${line}\n`);
const started_at = new Date().toISOString();
await using stack = new AsyncDisposableStack();
// Without jobs: what is measured is the command, and not how fast a worker then removes objects.
const server = await startBenchServer(EXECUTABLE, { TINTYPE_WORKER_EMBEDDED: "false" });
stack.defer(() => server.stop());
const database = await openBenchDatabase(server.dataDir);
stack.defer(() => database.close());

/** Stories that were over two hours ago, each seen by so many. */
async function load({ client }: BenchDatabase, count: number, views: number): Promise<void> {
  await client.query("SET session_replication_role = replica");
  await client.query(
    `WITH made AS (
       INSERT INTO media (id, owner_id, purpose, state, content_type, bytes, sha256, width, height, thumbhash)
       SELECT gen_random_uuid(), gen_random_uuid(), 'story', 'ready', 'image/jpeg', 1, '\\x', 9, 16, ''
       FROM generate_series(1, $1::int) RETURNING id, owner_id)
     INSERT INTO stories (id, user_id, medium_id, audience, status, view_count, published_at, expires_at)
     SELECT gen_random_uuid(), owner_id, id, 'everyone', 'published', $2, now() - interval '26 hours',
       now() - interval '2 hours' - random() * interval '1 hour' FROM made`,
    [count, views],
  );
  await client.query(
    `INSERT INTO story_views (story_id, viewer_id)
     SELECT stories.id, gen_random_uuid() FROM stories, generate_series(1, $1::int)`,
    [views],
  );
  await client.query("SET session_replication_role = DEFAULT");
  await client.query("VACUUM (ANALYZE) media, stories, story_views");
}

interface Figures {
  deleted_records: number;
  deleted_media: number;
  skipped: number;
  duration_ms: number;
  peak_mib: number;
}

/** Runs the command to its end, and looks at its memory every 20 ms. */
async function cleanUp(dataDir: string, ...args: string[]): Promise<Figures> {
  const command = spawn(process.execPath, [EXECUTABLE, "stories", "cleanup", "--json", ...args], {
    env: { TINTYPE_DATA_DIR: dataDir, TINTYPE_LOG_FORMAT: "json" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  command.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    said += chunk;
  });
  const peak = peakOf(command);
  const [code] = await once(command, "close");
  if (code !== 0) throw new Error(`the cleanup ended with ${code}: ${said}`);
  return { ...JSON.parse(said), peak_mib: (await peak) / 2 ** 20 };
}

/** Bytes. The kernel keeps the highest of a process, for as long as it is there. */
async function peakOf(command: ChildProcess): Promise<number> {
  let peak = 0;
  while (command.exitCode === null && command.signalCode === null) {
    const status = await readFile(`/proc/${command.pid}/status`, "utf8").catch(() => "");
    peak = Math.max(peak, Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024);
    await sleep(20);
  }
  return peak;
}

async function assertEmpty({ client }: BenchDatabase, jobs: number): Promise<void> {
  const { rows } = await client.query(
    `SELECT (SELECT count(*)::int FROM stories) AS stories, (SELECT count(*)::int FROM story_views) AS views,
       (SELECT count(DISTINCT data->>'medium_id')::int FROM pgboss.job WHERE name = 'media.remove') AS jobs`,
  );
  const { stories, views, jobs: enqueued } = rows[0];
  if (stories + views > 0 || enqueued !== jobs)
    throw new Error(`${stories} stories and ${views} views are left, and ${enqueued} removals enqueued, not ${jobs}`);
}

/** From the end of the command until the last object of PICTURES is gone. @returns milliseconds. */
async function removeObjects(): Promise<number> {
  await using stack = new AsyncDisposableStack();
  const { dataDir, stop } = await startBenchServer(EXECUTABLE);
  stack.defer(stop);
  const database = await openBenchDatabase(dataDir);
  stack.defer(() => database.close());
  await load(database, PICTURES, VIEWS);
  const { rows } = await database.client.query<{ id: string }>("SELECT id FROM media");
  for (const key of rows.flatMap(({ id }) => objectKeys(id))) {
    const file = join(dataDir, "media", key);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, Buffer.alloc(OBJECT));
  }
  const left = async () => (await database.client.query("SELECT FROM media LIMIT 1")).rowCount;
  await cleanUp(dataDir);
  const ended = performance.now();
  while ((await left()) !== 0) await sleep(100);
  return performance.now() - ended;
}

say(`the objects of ${PICTURES} pictures`);
const objects_ms = await removeObjects();
say(`${FEW} stories`);
await load(database, FEW, VIEWS);
const few = await cleanUp(server.dataDir);
await assertEmpty(database, FEW);
say(`loading ${stories} stories`);
await load(database, stories, VIEWS);
say("cleaning up");
const rehearsed = await cleanUp(server.dataDir, "--dry-run");
if (rehearsed.deleted_records !== stories) throw new Error(`the rehearsal counted ${rehearsed.deleted_records}`);
const all = await cleanUp(server.dataDir);
await assertEmpty(database, FEW + stories);
say(`loading ${SEEN_BY_MANY.stories} stories that ${SEEN_BY_MANY.views} have seen`);
await load(database, SEEN_BY_MANY.stories, SEEN_BY_MANY.views);
const seen = await cleanUp(server.dataDir);
await assertEmpty(database, FEW + stories + SEEN_BY_MANY.stories);

process.stdout.write(
  `${formatReport({
    bench: "stories cleanup",
    started_at,
    machine: describeMachine(),
    figures: {
      stories: all.deleted_records,
      seconds: all.duration_ms / 1_000,
      stories_per_second: (all.deleted_records * 1_000) / all.duration_ms,
      rehearsal_seconds: rehearsed.duration_ms / 1_000,
      views_of_the_seen: SEEN_BY_MANY.stories * SEEN_BY_MANY.views,
      views_per_second: (SEEN_BY_MANY.stories * SEEN_BY_MANY.views * 1_000) / seen.duration_ms,
      seen_peak_mib: seen.peak_mib,
      pictures_per_second: (PICTURES * 1_000) / objects_ms,
    },
    ratios: [
      judged({
        name: "memory_of_many_vs_few",
        value: all.peak_mib / few.peak_mib,
        goal: GOAL,
        at_most: true,
        reference: { name: `the same with ${FEW} stories`, value: few.peak_mib, unit: "MiB" },
        measured: { value: all.peak_mib, unit: "MiB" },
      }),
    ],
  })}\n`,
);
