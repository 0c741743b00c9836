import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import t from "tap";
import { createDecoderPool } from "./pool.ts";

const FOLDER = join(import.meta.dirname, "../../../test/fixtures/mutants");

/**
 * Damaged pictures that `npm run fuzz:media -- --seed 20261125` made, by their numbers: the smallest of those that each
 * reached another end of the decoders. Some are sound enough to be shown.
 */
const OUTCOMES: Record<string, { code: string } | { width: number; height: number; animated: boolean }> = {
  // 1-bit png: bytes put in, stretch removed, field edited, truncated
  "2458.png": { code: "PICTURE_UNREADABLE" },
  // 1-bit png: field edited
  "1568.png": { code: "PICTURE_UNREADABLE" },
  // 1-bit png: part removed
  "187.png": { width: 64, height: 48, animated: false },
  // 16-bit png: stretch of one byte, truncated, header edited
  "299.png": { code: "PICTURE_TOO_LARGE" },
  // jpeg 4:4:4: truncated, part doubled, bytes put in, part doubled
  "1376.jpeg": { width: 48, height: 48, animated: false },
  // jpeg 4:4:4: bytes set, truncated, parts exchanged, parts exchanged
  "855.jpeg": { code: "PICTURE_UNREADABLE" },
  // grey jpeg: part removed
  "644.jpeg": { code: "PICTURE_UNREADABLE" },
  // grey jpeg: header edited
  "994.jpeg": { code: "PICTURE_UNREADABLE" },
  // progressive jpeg: part removed, truncated, part removed, stretch doubled
  "2460.jpeg": { code: "PICTURE_UNREADABLE" },
  // grey jpeg: field edited
  "1968.jpeg": { code: "PICTURE_UNREADABLE" },
  // lossless webp: part removed
  "12.webp": { code: "PICTURE_UNREADABLE" },
  // webp: stretch of one byte
  "1013.webp": { code: "PICTURE_UNREADABLE" },
  // webp: another inside
  "6.webp": { width: 64, height: 48, animated: false },
  // animated gif: truncated, stretch doubled, parts exchanged
  "1449.gif": { width: 64, height: 48, animated: true },
  // animated gif: spliced with another, part removed
  "1944.gif": { code: "PICTURE_UNREADABLE" },
  // avif: bytes put in
  "1851.avif": { code: "PICTURE_UNREADABLE" },
  // 10-bit avif: header edited
  "13.avif": { width: 48, height: 48, animated: false },
  // avif: stretch of one byte
  "489.avif": { code: "PICTURE_UNREADABLE" },
  // gif: field edited
  "6883.gif": { code: "PICTURE_UNREADABLE" },
  // avif: bits flipped, field edited, another inside
  "1526.avif": { code: "PICTURE_FORMAT_UNSUPPORTED" },
};

const pool = createDecoderPool({
  size: 1,
  timeoutMs: 60_000,
  maxRssBytes: 2 ** 30,
  maxPixels: 50e6,
  log: pino({ level: "silent" }),
});
t.teardown(() => pool.close());

t.test("each ends as it did when it was found, and costs no process", async (t) => {
  const processes = new Set<string>();
  const scratch = t.testdir();
  t.same((await readdir(FOLDER)).sort(), Object.keys(OUTCOMES).sort());
  for (const [name, expected] of Object.entries(OUTCOMES)) {
    const output = join(scratch, name);
    await mkdir(output, { recursive: true });
    const outcome = await pool.render(join(FOLDER, name), output).catch((error: unknown) => error);
    t.match(outcome, expected, name);
    processes.add(String(await decoders()));
  }
  t.equal(processes.size, 1, "one process for all");
});

/** The processes that this one has started. */
function decoders(): Promise<string> {
  return readFile(`/proc/self/task/${process.pid}/children`, "utf8");
}
