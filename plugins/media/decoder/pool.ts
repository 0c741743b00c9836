import type { ChildProcess } from "node:child_process";
import type { Logger } from "pino";
import { createPlaces, type Place } from "./places.ts";
import {
  type DecoderLimits,
  decodeIn,
  endDecoder,
  FILES_PER_PROCESS,
  isUsable,
  NotAcceptedError,
  startDecoder,
} from "./process.ts";
import type { Rendered, RenderLimits, RenderRequest } from "./protocol.ts";

export { DecoderBusyError, DecoderClosedError } from "./places.ts";
export { DecoderLostError } from "./process.ts";

export type DecoderPoolOptions = RenderLimits &
  DecoderLimits & {
    /** Files that are decoded at a time, each in a process of its own; one more may be in the side lane. */
    size: number;
    log: Logger;
  };

export type RenderOptions = {
  signal?: AbortSignal;
  /** Whose file it is. However many files of an account take long, only one of them is decoded at a time. */
  owner?: string;
  /** See RenderLimits. */
  tallest?: number;
  /** The content was hard on a decoder before: it is decoded in the side lane only, one at a time. */
  suspect?: boolean;
  /** Called when the file's turn has come; the decoder begins when it has resolved, and not at all if it rejects. */
  onStart?: () => Promise<void>;
};

export type DecoderPool = {
  readonly size: number;
  /**
   * The most processes that there can be: `size`, and one in the side lane. So the memory of all is at most this times
   * `maxRssBytes`, and for 25 ms, until one that grew is seen, what the kernel's limit lets it have.
   */
  readonly maxProcesses: number;
  /**
   * Makes the renditions of the file `inputPath` in the directory `outputDir`. Callers are served in the order in
   * which they came, but for files that take long: see places.ts. Once this has settled, nothing is written into
   * `outputDir` any more.
   *
   * Throws PictureError, which is a DecoderLostError if the file cost its process; DecoderBusyError; the signal's
   * reason, when that aborts; DecoderClosedError; and plain Error for what is neither the picture's fault nor the
   * decoder's (no such file, a full disk), with the system's `code` if it has one.
   */
  render(inputPath: string, outputDir: string, options?: RenderOptions): Promise<Rendered>;
  /** Refuses new files and those that wait, lets the running ones finish, then ends the processes. */
  close(): Promise<void>;
};

/** A pool of decoder processes. They are started when first needed, and replaced when they crash or are killed. */
export function createDecoderPool(options: DecoderPoolOptions): DecoderPool {
  const { size, log } = options;
  const alive = new Set<ChildProcess>();
  const idle: ChildProcess[] = [];
  const filesOf = new WeakMap<ChildProcess, number>();
  const places = createPlaces(options);
  let closing: Promise<void> | undefined;

  function takeProcess(): ChildProcess {
    for (let child = idle.pop(); child; child = idle.pop()) if (isUsable(child)) return child;
    const child = startDecoder(log, options);
    alive.add(child);
    child.once("exit", () => alive.delete(child));
    return child;
  }

  async function giveProcess(child: ChildProcess): Promise<void> {
    const files = (filesOf.get(child) ?? 0) + 1;
    filesOf.set(child, files);
    if (isUsable(child) && files < FILES_PER_PROCESS) idle.push(child);
    else await endDecoder(child);
  }

  async function renderNow(request: RenderRequest, place: Place, signal: AbortSignal | undefined): Promise<Rendered> {
    for (;;) {
      const child = takeProcess();
      try {
        return await decodeIn(child, request, options, { signal, onAccepted: place.begin });
      } catch (error) {
        // It had died idle, and this process had not heard of it yet. A new one that does so is broken.
        const diedIdle = error instanceof NotAcceptedError && filesOf.has(child);
        if (!diedIdle) throw error;
      } finally {
        await giveProcess(child);
      }
    }
  }

  return {
    size,
    maxProcesses: size + 1,
    async render(inputPath, outputDir, { signal, owner, tallest, suspect = false, onStart } = {}) {
      signal?.throwIfAborted();
      const place = await places.take({ owner, suspect }, signal);
      let decoded = false;
      try {
        await onStart?.();
        signal?.throwIfAborted();
        const request = { inputPath, outputDir, maxPixels: options.maxPixels };
        const rendered = await renderNow({ ...request, ...(tallest === undefined ? {} : { tallest }) }, place, signal);
        decoded = true;
        return rendered;
      } finally {
        place.leave(decoded);
      }
    },
    close() {
      closing ??= (async () => {
        await places.close();
        await Promise.all([...alive].map(endDecoder));
      })();
      return closing;
    },
  };
}
