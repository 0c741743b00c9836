/**
 * `npm run fuzz:media -- --count 10000 --seed N`: damages real pictures of every format and hands them to a real service
 * over HTTP, ten a post. Every one must end refused with a reason, published, or failed with a reason; no answer may be a
 * 5xx; and afterwards the service must be as it was: it publishes a good photo, its staging folder is empty, its memory is
 * back. Exits with 1 when anything is not so.
 *
 * The same seed gives the same mutants: `--only INDEX` writes one to the disk and hands in that one alone.
 * `--keep FOLDER` writes the smallest mutant of each way to end.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import pg from "pg";
import { picture } from "../test/support/pictures.ts";
import { startPostgresServer } from "../test/support/postgres-server.ts";
import { type Server, startServer } from "../test/support/server.ts";
import { publish } from "../test/support/service.ts";
import { readCorpus } from "./fuzz/corpus.ts";
import { createFeed, type Feed } from "./fuzz/feed.ts";
import { mutantOf } from "./fuzz/mutate.ts";
import { countsOf, smallest } from "./fuzz/report.ts";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    only: { type: "string" },
    keep: { type: "string" },
  },
});
const whole = (name: "count" | "seed" | "only"): number => {
  const value = Number(values[name]);
  if (!Number.isInteger(value) || value < 0) throw new Error(`--${name} wants a whole number`);
  return value;
};
const seed = whole("seed");
const indexes =
  values.only === undefined ? Array.from({ length: whole("count") }, (_, index) => index) : [whole("only")];

/** Pictures a post. */
const TOGETHER = 10;
/** Uploads at a time, each of an account of its own. */
const AUTHORS = 4;
/** Mutants that may be under way: more would only fill the disk. */
const MOST_OPEN = 600;
/** Milliseconds without anything that ends. */
const PATIENCE = 180_000;
/** Bytes, between a server that has worked for a while and one that has worked for long. */
const MEMORY_SLACK = 100e6;
/** Mutants until then: by that time its heap has the size that it needs. */
const WARM = 1_000;

const say = (line: string) => process.stdout.write(`${line}\n`);
const corpus = await readCorpus();
const mutant = (index: number) => mutantOf(corpus, seed, index);

const postgres = await startPostgresServer();
const folder = await mkdtemp(join(tmpdir(), "tintype-fuzz-"));
const sql = new pg.Pool({ connectionString: postgres.url, max: AUTHORS + 1 });
const server = await startServer({
  TINTYPE_DATABASE_URL: postgres.url,
  TINTYPE_DATA_DIR: folder,
  TINTYPE_WORKER_EMBEDDED: "true",
});
try {
  const violations = await fuzz();
  for (const violation of violations) say(`VIOLATION ${violation}`);
  say(violations.length === 0 ? "\nall ended as they may" : `\n${violations.length} violations`);
  process.exitCode = violations.length === 0 ? 0 : 1;
} finally {
  await server.stop();
  await sql.end();
  await postgres.stop();
  await rm(folder, { recursive: true, force: true });
}

async function fuzz(): Promise<string[]> {
  const photo = await picture({ width: 800, height: 600 });
  const witness = await server.client.register("witness");
  for (let n = 0; n < 10; n++) await publish(witness, [photo]);

  if (values.only !== undefined) {
    const { file, recipe } = mutant(whole("only"));
    const path = `mutant-${seed}-${values.only}.bin`;
    await writeFile(path, file);
    say(`${path}: ${file.length} bytes, ${recipe}`);
  }
  const feed = createFeed(sql);
  const began = performance.now();
  const memory = await feedAll(feed);
  const seconds = (performance.now() - began) / 1000;
  const violations = await after(witness, photo, memory, feed);

  say(
    `\n${corpus.length} originals, seed ${seed}, ${cpus().length} × ${cpus()[0]?.model}, Node ${process.versions.node}`,
  );
  say(`${indexes.length} mutants in ${seconds.toFixed(0)} s: ${(indexes.length / seconds).toFixed(1)} a second\n`);
  for (const [name, count] of countsOf(feed.outcomes.values())) say(`${String(count).padStart(7)}  ${name}`);
  say(`${String(countOf("a file cost its decoder")).padStart(7)}  decoders that a file cost`);
  if (values.keep !== undefined) await keep(values.keep, feed);
  for (const [index, { end, code }] of feed.outcomes)
    if (end === "VIOLATION") violations.push(`mutant ${index}: ${code}`);
  return violations;
}

/** @returns the memory of the server when it had seen a tenth of them, or WARM. */
async function feedAll(feed: Feed): Promise<number> {
  let before = 0;
  const authors = await Promise.all(Array.from({ length: AUTHORS }, (_, n) => server.client.register(`author${n}`)));
  const left = [...indexes];
  let open = 0;
  let feeding = true;
  const uploads = Promise.all(
    authors.map(async (author) => {
      while (left.length > 0) {
        if (open > MOST_OPEN) await sleep(100);
        else await feed.upload(author, left.splice(0, TOGETHER).map(mutant));
      }
    }),
  ).finally(() => {
    feeding = false;
  });
  let ended = -1;
  let moved = performance.now();
  let said = performance.now();
  while (feeding || open > 0) {
    await sleep(200);
    open = await feed.look();
    if (feed.outcomes.size !== ended) {
      ended = feed.outcomes.size;
      moved = performance.now();
    }
    if (before === 0 && ended >= Math.min(WARM, indexes.length / 10)) before = await residentBytes(server);
    if (performance.now() - said > 10_000) {
      said = performance.now();
      say(`${ended} of ${indexes.length} have ended, ${open} are being processed`);
    }
    if (server.process.exitCode !== null || server.process.signalCode !== null) break;
    if (performance.now() - moved > PATIENCE) feed.giveUp();
  }
  await uploads;
  return before;
}

/** What is wrong with the service behind all that. */
async function after(
  witness: Awaited<ReturnType<Server["client"]["register"]>>,
  photo: Buffer,
  before: number,
  feed: Feed,
): Promise<string[]> {
  const wrong: string[] = [];
  if (server.process.exitCode !== null || server.process.signalCode !== null) return ["the server is dead"];
  await publish(witness, [photo]).catch((error) => wrong.push(`a good photo afterwards: ${error}`));
  const staged = await readdir(join(folder, "staging"));
  if (staged.length > 0) wrong.push(`${staged.length} files are left in staging`);
  const memory = await residentBytes(server);
  say(
    `\nmemory of the server: ${Math.round(before / 1e6)} MB when it was warm, ${Math.round(memory / 1e6)} MB at the end`,
  );
  if (memory > before + MEMORY_SLACK) wrong.push("the memory is not back");
  const { rows } = await sql.query(
    `SELECT media.id FROM pgboss.job JOIN media ON media.id::text = data->>'medium_id'
     WHERE name = 'dead_letters' AND media.state <> 'failed'`,
  );
  if (rows.length > 0) wrong.push(`${rows.length} dead letters of media that have not failed`);
  const missing = indexes.filter((index) => !feed.outcomes.has(index)).length;
  if (missing > 0) wrong.push(`${missing} mutants of which nobody knows`);
  const errors = countOf('"level":"error"') + countOf('"level":50');
  if (errors > 0) wrong.push(`${errors} errors in the log`);
  return wrong;
}

async function keep(target: string, feed: Feed): Promise<void> {
  await mkdir(target, { recursive: true });
  for (const [number, { signature, mutant: one, count }] of smallest(feed.outcomes, mutant).entries()) {
    await writeFile(join(target, `${String(number).padStart(3, "0")}-${one.index}.bin`), one.file);
    say(
      `${String(number).padStart(3)} ${String(count).padStart(6)} × ${signature} [${one.file.length} bytes, ${one.recipe}]`,
    );
  }
}

function countOf(words: string): number {
  return server.output().split(words).length - 1;
}

async function residentBytes({ pid }: Server): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
}
