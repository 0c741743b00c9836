import { readFile } from "node:fs/promises";
import { createHistogram } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import sharp from "sharp";
import { describeMachine, judged, type Ratio, type Report } from "../../src/bench/report.ts";
import { startBenchServer } from "../../src/bench/server.ts";
import { OperationError } from "../../src/errors.ts";
import { measureRenditions, type RenditionsMeasured } from "./decoder/bench.ts";

/** The share of decode-and-resize's speed that four renditions must reach. */
const DECODE_RESIZE_GOAL = 0.28;
/** Against the first design's pipeline: likeness (SSIM), bytes, speed. */
const DESIGN_GOALS = { ssim: 0.98, bytes: 1.05, speed: 1.5 };
const DESIGN = "the first design's four pipelines";
/** Milliseconds until the bench gives up waiting for posts. */
const PATIENCE = 120_000;

/** Uploads `count` photos of some 5 MB, or one's own, to a server of its own, then measures the renditions of a 6-megapixel photo. */
export async function benchUpload(options: {
  count: number;
  concurrency: number;
  pairs: number;
  photo?: string | undefined;
  executable: string;
  log: (line: string) => void;
}): Promise<Report> {
  const { count, concurrency, pairs, executable, log } = options;
  const started_at = new Date().toISOString();
  const own = options.photo === undefined ? null : await readFile(options.photo);
  const photo = own ?? (await syntheticPhoto(4000, 3000));
  log(`uploading ${count} photos of ${(photo.length / 1e6).toFixed(1)} MB, ${concurrency} at once`);
  const uploads = await measureUploads(photo, { count, concurrency, executable });
  log(
    `rendering ${own ? "it" : "a 6-megapixel photo"} ${pairs} times, in turn with decoding and resizing alone, and its square in turn with ${DESIGN}`,
  );
  const rendered = await measureRenditions(own ?? (await syntheticPhoto(2725, 2225)), { pairs });
  return {
    bench: "upload",
    started_at,
    machine: describeMachine(),
    figures: { photo_bytes: photo.length, uploads: count, ...uploads },
    ratios: ratiosOf(rendered),
  };
}

function ratiosOf({ decodeResize, design }: RenditionsMeasured): Ratio[] {
  const perSecond = (value: number) => ({ value, unit: "pictures/s" });
  const bytes = (value: number) => ({ value, unit: "bytes" });
  const likeness = (value: number) => ({ value, unit: "SSIM" });
  return [
    judged({
      name: "renditions_vs_decode_resize",
      value: decodeResize.ratio,
      goal: DECODE_RESIZE_GOAL,
      reference: { name: "decoding and resizing to 1080 alone", ...perSecond(decodeResize.reference) },
      measured: perSecond(decodeResize.own),
    }),
    judged({
      name: "renditions_ssim_vs_spec",
      value: design.ssim,
      goal: DESIGN_GOALS.ssim,
      reference: {
        name: `the renditions of ${DESIGN} with the pixels that they encode`,
        ...likeness(design.referenceSsim),
      },
      measured: likeness(design.ssim),
    }),
    judged({
      name: "renditions_fidelity_vs_spec",
      value: design.fidelity.ratio,
      goal: DESIGN_GOALS.ssim,
      reference: { name: `${DESIGN}, with the pixels that they encode`, ...likeness(design.fidelity.reference) },
      measured: likeness(design.fidelity.own),
    }),
    judged({
      name: "renditions_bytes_vs_spec",
      value: design.ownBytes / design.referenceBytes,
      goal: DESIGN_GOALS.bytes,
      at_most: true,
      reference: { name: DESIGN, ...bytes(design.referenceBytes) },
      measured: bytes(design.ownBytes),
    }),
    judged({
      name: "renditions_speed_vs_spec",
      value: design.ratio,
      goal: DESIGN_GOALS.speed,
      reference: { name: DESIGN, ...perSecond(design.reference) },
      measured: perSecond(design.own),
    }),
  ];
}

async function measureUploads(
  photo: Buffer,
  { count, concurrency, executable }: { count: number; concurrency: number; executable: string },
): Promise<Record<string, number>> {
  const server = await startBenchServer(executable);
  try {
    // One for each client: an account may have few uploads under way.
    const person = await register(`${server.url}/api/v1`, "bench");
    const people = [person];
    while (people.length < concurrency) people.push(await register(`${server.url}/api/v1`, `bench${people.length}`));
    const acknowledged = createHistogram();
    const begun = performance.now();
    let left = count;
    const client = async ({ upload }: Person) => {
      while (left-- > 0) {
        const start = performance.now();
        await upload(photo);
        acknowledged.record(Math.max(1, Math.round((performance.now() - start) * 1000)));
      }
    };
    await Promise.all(people.map(client));
    const allAcknowledged = performance.now();
    const published = async () => Promise.all(people.map(async ({ get }) => (await get("/me")).post_count));
    await until(async () => (await published()).reduce((sum, posts) => sum + posts, 0) === count);
    const allPublished = performance.now();

    const post = await person.upload(photo);
    await until(async () => (await person.get("/feed?limit=1")).items[0]?.id === post);
    return {
      acknowledged_p50_ms: acknowledged.percentile(50) / 1000,
      acknowledged_p95_ms: acknowledged.percentile(95) / 1000,
      acknowledged_per_second: (count * 1000) / (allAcknowledged - begun),
      published_per_second: (count * 1000) / (allPublished - begun),
      in_feed_when_idle_ms: performance.now() - allPublished,
    };
  } finally {
    await server.stop();
  }
}

type Person = Awaited<ReturnType<typeof register>>;

/** Someone who is signed in and speaks to the server as any client would. */
async function register(api: string, username: string) {
  const registration = { username, email: `${username}@example.org`, password: "bench bench bench" };
  const { token } = await answerOf(
    fetch(`${api}/auth/register`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(registration),
    }),
  );
  const headers = { authorization: `Bearer ${token}` };
  return {
    get: (path: string) => answerOf(fetch(`${api}${path}`, { headers })),
    async upload(photo: Buffer): Promise<string> {
      const body = new FormData();
      body.append("media", new Blob([new Uint8Array(photo)]), "photo.jpg");
      return (await answerOf(fetch(`${api}/posts`, { method: "POST", headers, body }))).post_id;
    },
  };
}

async function answerOf(request: Promise<Response>): Promise<ReturnType<typeof JSON.parse>> {
  const response = await request;
  const body = await response.text();
  if (!response.ok) throw new OperationError(`the server answered ${response.status}: ${body}`);
  return JSON.parse(body);
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE;
  while (!(await condition())) {
    if (performance.now() > end) throw new OperationError("the posts were not published in time");
    await sleep(10);
  }
}

/** A picture with what makes JPEG work: soft shapes, edges and grain. The same at every run. */
function syntheticPhoto(width: number, height: number): Promise<Buffer> {
  const pixels = Buffer.alloc(width * height * 3);
  let seed = 1;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      const grain = (seed >>> 24) / 8 - 16;
      const shape = 60 * Math.sin(x / 97) * Math.cos(y / 61) + (((x >> 8) + (y >> 8)) % 2) * 40;
      pixels[at++] = clamp(110 + shape + grain);
      pixels[at++] = clamp(100 + shape * 0.8 + grain);
      pixels[at++] = clamp(90 - shape * 0.5 + grain);
    }
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 92 })
    .toBuffer();
}

function clamp(value: number): number {
  return Math.min(255, Math.max(0, value));
}
