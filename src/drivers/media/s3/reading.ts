import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { SilenceError } from "./transport.ts";

/** How often a body that breaks off is asked for again, from where it broke. */
const RESUMES = 3;

export interface ReadingOptions {
  /** The first byte wanted, and the one behind the last. */
  start: number;
  end: number;
  /** Milliseconds in which a byte must come once the reader wants one. A reader that pauses is nobody's fault. */
  silence: number;
  /** The rest of the same object from `start` on; rejects when it is another by now. */
  reopen(start: number): Promise<IncomingMessage>;
  /** What it means that the rest cannot be had. */
  failed(error: unknown): Promise<Error>;
}

/** The bytes of an object. A connection that breaks half way is not noticed by whoever reads. */
export function readingOf(first: IncomingMessage, options: ReadingOptions): Readable {
  const body = Readable.from(chunksOf(first, options), { objectMode: false });
  // One that is let go before it is read never gets to the generator's end.
  return body.once("close", () => first.destroy());
}

async function* chunksOf(
  first: IncomingMessage,
  { start, end, silence, reopen, failed }: ReadingOptions,
): AsyncGenerator<Buffer> {
  let source = first;
  let position = start;
  try {
    for (let resumes = 0; ; ) {
      let chunk: Buffer | null;
      try {
        chunk = await nextChunk(source, silence);
        if (chunk === null && position < end) throw new Error(`it ended after ${position - start} bytes`);
      } catch (error) {
        source.destroy();
        if (resumes++ === RESUMES) throw await failed(error);
        source = await reopen(position).catch(async (cause: unknown) => {
          throw await failed(cause);
        });
        continue;
      }
      if (chunk === null) return;
      position += chunk.length;
      yield chunk;
    }
  } finally {
    source.destroy();
  }
}

/** The next bytes, or null at the end. An iterator of the stream would have to be left with it, which destroys it. */
async function nextChunk(source: IncomingMessage, silence: number): Promise<Buffer | null> {
  const end = performance.now() + silence;
  for (;;) {
    const chunk: Buffer | null = source.read();
    if (chunk !== null) return chunk;
    if (source.readableEnded) return null;
    if (source.errored || source.destroyed) throw source.errored ?? new Error("the connection broke");
    if (performance.now() >= end) throw new SilenceError(silence);
    await somethingHappens(source, end - performance.now());
  }
}

function somethingHappens(source: IncomingMessage, within: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, within);
  source.on("readable", resolve).on("end", resolve).on("error", resolve).on("close", resolve);
  return promise.finally(() => {
    clearTimeout(timer);
    source.off("readable", resolve).off("end", resolve).off("error", resolve).off("close", resolve);
  });
}
