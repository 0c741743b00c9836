/**
 * `npm run measure:million [-- --followers 1000000 --timelines 20000]`: uploads one after the other, first alone and then while posts of an author with a million
 * followers are pushed to them; how long the uploads take to be acknowledged, and how much memory the server takes. The
 * goal is that their p95 stays within twice.
 */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { makeFanoutDataset } from "../plugins/feed/bench/fanout-dataset.ts";
import { person, publication } from "../plugins/feed/bench/people.ts";
import { pagesOf } from "../plugins/feed/bench/requests.ts";
import { openBenchDatabase } from "../src/bench/database.ts";
import { assertAnswered, loadTo, startLoadGenerator } from "../src/bench/load/generator.ts";
import { startBenchRedis } from "../src/bench/redis-server.ts";
import { describeMachine, formatReport, judged } from "../src/bench/report.ts";
import { startBenchServer } from "../src/bench/server.ts";
import { picture } from "../test/support/pictures.ts";

const { values } = parseArgs({
  options: {
    followers: { type: "string", default: "1000000" },
    timelines: { type: "string", default: "20000" },
    uploads: { type: "string", default: "60" },
  },
});
const [followers, timelines, uploads] = [values.followers, values.timelines, values.uploads].map(Number) as [
  number,
  number,
  number,
];
if (!(followers >= timelines && timelines > 0 && uploads >= 10))
  throw new Error("--followers wants at least --timelines");

const GOAL = 2;
/** Uploads a second: well below what the machine can do. */
const RATE = 3;

const say = (line: string) => process.stderr.write(`${line}\n`);
const started_at = new Date().toISOString();
await using stack = new AsyncDisposableStack();
const redis = await startBenchRedis();
stack.defer(() => redis.stop());
say(`loading ${followers} followers`);
const dataset = makeFanoutDataset({ followers, seed: 1 });
const server = await startBenchServer(process.argv[1]?.replace(/scripts.*/, "bin/tintype.js") ?? "", {
  TINTYPE_REDIS_URL: redis.url,
  TINTYPE_FEED_FANOUT_THRESHOLD: String(followers + 1),
});
stack.defer(() => server.stop());
const database = await openBenchDatabase(server.dataDir);
stack.defer(() => database.close());
const loaded = await database.load(dataset.tables);
say(`${Math.round(loaded.rows / loaded.seconds)} rows a second; building ${timelines} timelines`);
const generator = startLoadGenerator();
const tokens = Array.from({ length: timelines }, (_, index) => dataset.tokenOf(index + 1));
assertAnswered(
  await generator.run({
    ...loadTo(server.url, { connections: 8, seed: 1 }),
    arrivals: { model: "once" },
    classes: [pagesOf(new URL(server.url).host, tokens, { draw: "turn" })],
  }),
);
await generator.stop();

const someone = (user: number) =>
  person(server.url, { username: dataset.usernameOf(user), token: dataset.tokenOf(user) });
const [author, uploader] = [someone(0), someone(1)];
const photo = await picture({ width: 2000, height: 1500, grain: 40, quality: 90 });
await acknowledged(10);
say("uploading alone");
const alone = p95(await acknowledged(uploads));
const rssAlone = await rss();
say("uploading while a million are told of posts");
await server.log();
let telling = true;
const posts = (async () => {
  let count = 0;
  for (; telling; count++) {
    await publication(author, await author.post());
    await fannedOut();
  }
  return count;
})();
const beside = p95(await acknowledged(uploads));
const rssBeside = await rss();
telling = false;
const told = await posts;

process.stdout.write(
  `${formatReport({
    bench: "million",
    started_at,
    machine: describeMachine(),
    figures: {
      followers,
      timelines,
      rows_loaded_per_second: loaded.rows / loaded.seconds,
      posts_told_meanwhile: told,
      server_rss_alone_mib: rssAlone,
      server_rss_beside_mib: rssBeside,
    },
    ratios: [
      judged({
        name: "uploads_p95_behind_a_million_followers",
        value: beside / alone,
        goal: GOAL,
        at_most: true,
        reference: { name: "uploads alone", value: alone, unit: "ms" },
        measured: { value: beside, unit: "ms" },
      }),
    ],
  })}\n`,
);

/** Uploads at the rate, whatever becomes of those before. @returns how long each took to be acknowledged, in ms. */
async function acknowledged(count: number): Promise<number[]> {
  const under_way = Array.from({ length: count }, async (_, n) => {
    await sleep((n * 1_000) / RATE);
    const begun = performance.now();
    const body = new FormData();
    // Another content each time, which a decoder sees as the same.
    body.append("media", new Blob([Uint8Array.from(photo), `${begun} ${n}`]), "photo.jpg");
    const headers = { authorization: `Bearer ${uploader.token}` };
    const answer = await fetch(`${server.url}/api/v1/posts`, { method: "POST", headers, body });
    if (answer.status !== 202) throw new Error(`an upload was answered ${answer.status}: ${await answer.text()}`);
    await answer.arrayBuffer();
    return performance.now() - begun;
  });
  return Promise.all(under_way);
}

/** Waits until the jobs of the author's post have served all followers. */
async function fannedOut(): Promise<void> {
  for (let served = 0; served < followers; await sleep(20)) {
    for (const { msg, followers: some } of await server.log()) if (msg === "fanned out") served += Number(some);
  }
}

function p95(milliseconds: readonly number[]): number {
  return milliseconds.toSorted((a, b) => a - b)[Math.floor(milliseconds.length * 0.95)] ?? Number.NaN;
}

/** MiB that the server takes and has taken at most. */
async function rss(): Promise<number> {
  const status = await readFile(`/proc/${server.pid}/status`, "utf8");
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024;
}
