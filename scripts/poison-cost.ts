/**
 * `npm run measure:poison [-- --seconds 90 --rate 1.5]`: steady uploads of good photos, well below what the machine can
 * do, first alone and then beside a stream of files that crash, stall or swell their decoder; how long the good ones take
 * to be acknowledged and to be published. The goal is that neither p95 more than doubles. No file that crashes a decoder
 * or holds it up for ever is known, so those are sound ones, and a decoder that has opened one is sent SIGSEGV or SIGSTOP.
 */
import { mkdtemp, readdir, readFile, readlink, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import pg from "pg";
import { postForm, type SignedIn } from "../test/support/client.ts";
import { picture } from "../test/support/pictures.ts";
import { swelling } from "../test/support/poison.ts";
import { startPostgresServer } from "../test/support/postgres-server.ts";
import { startServer } from "../test/support/server.ts";
import { publish } from "../test/support/service.ts";

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "90" }, rate: { type: "string", default: "1.5" } },
});
const seconds = Number(values.seconds);
const rate = Number(values.rate);
if (!(seconds >= 10 && rate > 0)) throw new Error("--seconds wants 10 or more, --rate more than 0");

const GOAL = 2;
/** Seconds between two of each kind. */
const POISON_EVERY = 5;
const KINDS = ["crashing", "stalling", "swelling"] as const;
type Kind = (typeof KINDS)[number];
const SIGNALS = { crashing: "SIGSEGV", stalling: "SIGSTOP" } as const;

const say = (line: string) => process.stdout.write(`${line}\n`);
const postgres = await startPostgresServer();
const folder = await mkdtemp(join(tmpdir(), "tintype-poison-"));
const sql = new pg.Pool({ connectionString: postgres.url, max: 2 });
const server = await startServer({
  TINTYPE_DATABASE_URL: postgres.url,
  TINTYPE_DATA_DIR: folder,
  TINTYPE_WORKER_EMBEDDED: "true",
  // Between what a good photo takes and what a swelling one does.
  TINTYPE_MEDIA_DECODER_MEMORY: "200mb",
});

interface Figures {
  acknowledged: number[];
  published: number[];
}

try {
  const photo = await picture({ width: 2000, height: 1500, grain: 40, quality: 90 });
  const poison: Record<Kind, (n: number) => Promise<Buffer>> = {
    crashing: async (n) => numbered(photo, `crashing ${n}`),
    stalling: async (n) => numbered(photo, `stalling ${n}`),
    swelling,
  };
  for (const kind of KINDS) say(`a ${kind} file: ${(await poison[kind](0)).length} bytes`);
  const people = await Promise.all(["ana", "bob", "cleo"].map((name) => server.client.register(name)));
  const mallory = await server.client.register("mallory");
  for (let n = 0; n < 10; n++) await Promise.all(people.map((person) => publish(person, [photo])));

  const alone = await uploads(people, photo);
  const ending = new AbortController();
  const poisoners = [...KINDS.map((kind) => pour(mallory, kind, poison[kind], ending.signal)), strike(ending.signal)];
  const beside = await uploads(people, photo);
  ending.abort();
  await Promise.all(poisoners);
  await report(alone, beside);
} finally {
  await server.stop();
  await sql.end();
  await postgres.stop();
  await rm(folder, { recursive: true, force: true });
}

/** Another content, which a decoder sees as the same. */
function numbered(photo: Buffer, number: string): Buffer {
  return Buffer.concat([photo, Buffer.from(number)]);
}

/** Uploads at the rate, whatever becomes of those before: a slow service is not asked less often. */
async function uploads(people: readonly SignedIn[], photo: Buffer): Promise<Figures> {
  const figures: Figures = { acknowledged: [], published: [] };
  const under_way: Promise<void>[] = [];
  for (let n = 0; n < seconds * rate; n++) {
    const person = people[n % people.length];
    if (person) under_way.push(upload(person, numbered(photo, `${n}`), figures));
    await sleep(1000 / rate);
  }
  await Promise.all(under_way);
  return figures;
}

async function upload(person: SignedIn, photo: Buffer, { acknowledged, published }: Figures): Promise<void> {
  const began = performance.now();
  const id = await person.post([photo]);
  acknowledged.push(performance.now() - began);
  for (;;) {
    const { rows } = await sql.query("SELECT status FROM posts WHERE id = $1", [id]);
    if (rows[0]?.status === "published") break;
    if (rows[0]?.status !== "processing") throw new Error(`a good photo is ${rows[0]?.status}`);
    await sleep(10);
  }
  published.push(performance.now() - began);
}

/** Files of one kind, each another content, so that none of them is known. */
async function pour(
  author: SignedIn,
  kind: Kind,
  make: (n: number) => Promise<Buffer>,
  signal: AbortSignal,
): Promise<void> {
  for (let n = 1; !signal.aborted; n++) {
    const { status } = await author.request("POST", "/posts", { form: postForm([await make(n)], kind) });
    if (status !== 202) throw new Error(`poison: ${status}`);
    await sleep(POISON_EVERY * 1000, undefined, { signal }).catch(() => undefined);
  }
}

/** Sends its signal to each decoder that has opened a file of these kinds. */
async function strike(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(5);
    const children = await readFile(`/proc/${server.pid}/task/${server.pid}/children`, "utf8");
    for (const pid of children.split(" ").filter(Boolean).map(Number)) {
      const medium = await originalIn(pid);
      if (medium === undefined) continue;
      const { rows } = await sql.query<{ caption: keyof typeof SIGNALS }>(
        `SELECT caption FROM post_media JOIN posts ON posts.id = post_id
         WHERE medium_id = $1 AND caption = ANY($2)`,
        [medium, Object.keys(SIGNALS)],
      );
      for (const { caption } of rows) if ((await originalIn(pid)) === medium) process.kill(pid, SIGNALS[caption]);
    }
  }
}

/** The medium whose original a process has open. */
async function originalIn(pid: number): Promise<string | undefined> {
  const names = await readdir(`/proc/${pid}/fd`).catch(() => []);
  for (const name of names) {
    const link = await readlink(`/proc/${pid}/fd/${name}`).catch(() => "");
    const medium = /\/originals\/..\/([0-9a-f-]{36})$/.exec(link)?.[1];
    if (medium !== undefined) return medium;
  }
  return undefined;
}

async function report(alone: Figures, beside: Figures): Promise<void> {
  const p95 = (values: readonly number[]) =>
    values.toSorted((a, b) => a - b)[Math.ceil(values.length * 0.95) - 1] ?? Number.NaN;
  const { rows } = await sql.query(
    "SELECT split_part(reason, ':', 1) AS reason, count(*)::int AS contents, sum(crashes)::int AS crashes FROM decode_crashes GROUP BY 1 ORDER BY 1",
  );
  say(
    `\n${alone.published.length} photos of 3 megapixels, ${rate} a second, on ${cpus().length} × ${cpus()[0]?.model}, Node ${process.versions.node}`,
  );
  for (const { reason, contents, crashes } of rows) say(`${reason}: ${crashes} decoders lost to ${contents} contents`);
  say("");
  let holds = true;
  for (const name of ["acknowledged", "published"] as const) {
    const ratio = p95(beside[name]) / p95(alone[name]);
    holds &&= ratio <= GOAL;
    say(
      `  ${`${name}_p95_with_poison`.padEnd(32)} ${ratio.toFixed(2)}  goal ${GOAL}  ${ratio <= GOAL ? "holds" : "DOES NOT HOLD"}`,
    );
    say(`    ${p95(beside[name]).toFixed(0)} ms against ${p95(alone[name]).toFixed(0)} ms without`);
  }
  process.exitCode = holds ? 0 : 1;
}
