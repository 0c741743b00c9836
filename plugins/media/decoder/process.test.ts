import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import t from "tap";
import { bomb } from "../../../test/support/pictures.ts";
import { DecoderLostError, decodeIn, endDecoder, NotAcceptedError, startDecoder } from "./process.ts";

const log = pino({ level: "silent" });
const maxRssBytes = 2 ** 31;
const dir = t.testdir();
const request = { inputPath: join(dir, "bomb.png"), outputDir: dir, maxPixels: 50e6 };
await writeFile(request.inputPath, bomb(7000, 7000));

/** Stops the decoder when it begins. @returns what is said of a file that is never done. */
async function stall(timeoutMs: number): Promise<unknown> {
  const limits = { timeoutMs, maxRssBytes };
  const child = startDecoder(log, limits);
  const onAccepted = () => void child.kill("SIGSTOP");
  try {
    return await decodeIn(child, request, limits, { signal: undefined, onAccepted }).catch((error: unknown) => error);
  } finally {
    await endDecoder(child);
  }
}

t.test("who stalls is to blame, if it was at the file", async (t) => {
  const unready = await stall(1);
  t.match(unready, { code: "PICTURE_TIMEOUT", detail: "after 1 ms" });
  t.ok(unready instanceof NotAcceptedError, "its process had not even started");
  let timeoutMs = 1_000;
  let error = await stall(timeoutMs);
  // However busy the machine is, in some time a process starts.
  while (error instanceof NotAcceptedError) {
    timeoutMs *= 2;
    error = await stall(timeoutMs);
  }
  t.match(error, { code: "PICTURE_TIMEOUT", detail: `after ${timeoutMs} ms` });
  t.ok(error instanceof DecoderLostError);
});
