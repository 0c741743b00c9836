/**
 * `npm run measure:memory`: what ten pictures of 50 megapixels cost that are posted at once. Starts
 * a server of its own on an empty data dir, and prints the peak of the memory (resident sets) of the server and its decoders
 * together, sampled every 50 ms, against the bound that the configuration promises. Linux only; it takes some three minutes.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import sharp from "sharp";
import { features } from "../plugins/index.ts";
import { describeMachine, formatReport, judged } from "../src/bench/report.ts";
import { startBenchServer } from "../src/bench/server.ts";
import { loadConfig } from "../src/config/load.ts";
import { codedItems, grid, heif } from "../test/support/heif.ts";
import { picture } from "../test/support/pictures.ts";

/** What the server's own process may take beside its decoders: 190 MB, and what ten uploads have in flight. */
const SERVER_BYTES = 384 << 20;
/** Milliseconds until it gives up waiting for the posts. */
const PATIENCE = 300_000;
const TILE = 512;
const SIZE = { width: 8192, height: 6103 };

const say = (line: string) => process.stderr.write(`${line}\n`);
// What the server will find out too, as it is given nothing of this environment.
const { config } = loadConfig({
  env: {},
  cwd: import.meta.dirname,
  features: { known: features.map(({ name }) => name), core: [] },
});
const started_at = new Date().toISOString();
say("making ten pictures of 50 megapixels");
const pictures = await makePictures();
// How long a decoder takes is of no interest here, and this machine may be busy.
const server = await startBenchServer(join(import.meta.dirname, "../bin/tintype.js"), {
  TINTYPE_MEDIA_DECODE_TIMEOUT: "2m",
});
try {
  const api = `${server.url}/api/v1`;
  const registration = { username: "memory", email: "memory@example.org", password: "memory memory memory" };
  const { token } = await answerOf(
    fetch(`${api}/auth/register`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(registration),
    }),
  );
  const headers = { authorization: `Bearer ${token}` };
  const idle = await residentBytes(server.pid);
  const watch = watchMemory(server.pid);
  const begun = performance.now();
  say(`posting them at once, ${config.worker.concurrency} decoders`);
  const posts = await Promise.all(
    pictures.map(async ({ name, file }) => {
      const body = new FormData();
      body.append("media", new Blob([new Uint8Array(file)]), name);
      const { post_id } = await answerOf(fetch(`${api}/posts`, { method: "POST", headers, body }));
      return { name, post_id };
    }),
  );
  for (const { name, post_id } of posts) {
    const read = async () => answerOf(fetch(`${api}/posts/${post_id}`, { headers }));
    let post = await read();
    while (post.status === "processing") {
      if (performance.now() - begun > PATIENCE) throw new Error("the posts were not published in time");
      await sleep(200);
      post = await read();
    }
    if (post.status !== "published") throw new Error(`${name} is ${post.status}: ${JSON.stringify(post.failure)}`);
  }
  const seconds = (performance.now() - begun) / 1000;
  const peak = await watch.stop();
  // One more than its places: see places.ts.
  const bound = (config.worker.concurrency + 1) * config.media.decoder_memory + SERVER_BYTES;
  const ratio = judged({
    name: "memory_of_ten_50_megapixel_files",
    value: peak.total / bound,
    goal: 1,
    at_most: true,
    reference: {
      name: `${config.worker.concurrency + 1} × media.decoder_memory and ${SERVER_BYTES >> 20} MiB for the server`,
      value: bound / 2 ** 20,
      unit: "MiB",
    },
    measured: { value: peak.total / 2 ** 20, unit: "MiB" },
  });
  const figures = {
    files_mb: pictures.reduce((sum, { file }) => sum + file.length, 0) / 1e6,
    seconds,
    decoders: config.worker.concurrency,
    server_idle_mib: idle / 2 ** 20,
    server_peak_mib: peak.server / 2 ** 20,
    decoder_peak_mib: peak.decoder / 2 ** 20,
  };
  process.stdout.write(
    `${formatReport({ bench: "memory", started_at, machine: describeMachine(), figures, ratios: [ratio] })}\n`,
  );
} finally {
  await server.stop();
}

async function makePictures(): Promise<{ name: string; file: Buffer }[]> {
  const jpeg = await picture({ ...SIZE, quality: 80 });
  const again = () => sharp(jpeg, { limitInputPixels: false });
  const progressive = await again().jpeg({ quality: 80, progressive: true }).toBuffer();
  const smooth = await picture({ ...SIZE, grain: 0 });
  const png = await sharp(smooth, { limitInputPixels: false })
    .png({ progressive: true, compressionLevel: 3 })
    .toBuffer();
  const heic = await heicOf("tile.heic");
  const deepHeic = await heicOf("tile-10-bit.heic");
  return [
    { name: "one.jpg", file: jpeg },
    { name: "two.jpg", file: jpeg },
    { name: "three.jpg", file: jpeg },
    { name: "progressive one.jpg", file: progressive },
    { name: "progressive two.jpg", file: progressive },
    { name: "interlaced one.png", file: png },
    { name: "interlaced two.png", file: png },
    { name: "one.heic", file: heic },
    { name: "two.heic", file: heic },
    { name: "ten bits.heic", file: deepHeic },
  ];
}

/** A grid that shows one tile over and over, of the size that phones' tiles have. */
async function heicOf(fixture: string): Promise<Buffer> {
  const [tile] = codedItems(await readFile(join(import.meta.dirname, "../test/fixtures/pictures", fixture)));
  if (!tile) throw new Error(`${fixture} has no picture`);
  const shape = { columns: Math.ceil(SIZE.width / TILE), rows: Math.ceil(SIZE.height / TILE) };
  const tiles = Array.from({ length: shape.columns * shape.rows }, () => tile);
  return heif([...tiles, grid(SIZE, shape, [...tiles.keys()])], { primary: tiles.length });
}

/** The most that the server, any of its decoders, and all of them together ever held. */
function watchMemory(pid: number) {
  const peak = { server: 0, decoder: 0, total: 0 };
  let watching = true;
  const watched = (async () => {
    while (watching) {
      const server = await residentBytes(pid);
      const decoders = await Promise.all((await decodersOf(pid)).map(residentBytes));
      peak.server = Math.max(peak.server, server);
      peak.decoder = Math.max(peak.decoder, ...decoders);
      peak.total = Math.max(peak.total, server + decoders.reduce((sum, bytes) => sum + bytes, 0));
      await sleep(50);
    }
  })();
  return {
    async stop() {
      watching = false;
      await watched;
      return peak;
    },
  };
}

async function decodersOf(pid: number): Promise<number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (name) => {
      const [stat, command] = await Promise.all(
        ["stat", "cmdline"].map((file) => readFile(`/proc/${name}/${file}`, "utf8").catch(() => "")),
      );
      const parent = Number(stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      return parent === pid && command?.includes("decoder/child") ? [Number(name)] : [];
    }),
  );
  return found.flat();
}

/** 0 where there is no such process any more. */
async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}

async function answerOf(request: Promise<Response>): Promise<ReturnType<typeof JSON.parse>> {
  const response = await request;
  const body = await response.text();
  if (!response.ok) throw new Error(`the server answered ${response.status}: ${body}`);
  return JSON.parse(body);
}
