import { open, stat } from "node:fs/promises";
import type { Client } from "minio";
import pLimit from "p-limit";

/** Bytes. S3 takes parts from 5 MiB on; each is in memory while it is sent, and is what a broken connection costs. */
export const PART = 8 * 1024 * 1024;
/** Parts of one process in memory. */
const AT_ONCE = 8;

const TYPES: Readonly<Record<string, string>> = { webp: "image/webp", zip: "application/zip" };

/** Runs one call to the store, again where that may help. */
export type Calling = <T>(call: () => Promise<T>) => Promise<T>;

/**
 * Puts a local file, in parts where it is larger than one. Not by the client's own fPutObject: that ends the process when
 * the file cannot be read to its end, and of two puts of one key the second continues the first one's parts.
 * @param wait milliseconds to wait for a place in memory. @throws whatever `toBusy` makes when they are over.
 */
export function createPut(
  client: Client,
  bucket: string,
  { calling, wait, toBusy }: { calling: Calling; wait: number; toBusy: () => Error },
): (key: string, path: string) => Promise<void> {
  const places = pLimit(AT_ONCE);

  /** Reads a part when it has a place, and sends it. */
  async function sendPart<T>(
    path: string,
    start: number,
    length: number,
    send: (part: Buffer) => Promise<T>,
  ): Promise<T> {
    let late = false;
    const { promise: busy, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      late = true;
      reject(toBusy());
    }, wait);
    const sent = places(async () => {
      clearTimeout(timer);
      if (late) throw toBusy();
      const part = await readPart(path, start, length);
      return calling(() => send(part));
    });
    return Promise.race([sent, busy]);
  }

  async function putParts(key: string, path: string, size: number): Promise<void> {
    const uploadID = await calling(() => client.initiateNewMultipartUpload(bucket, key, headersOf(key)));
    try {
      const etags: { part: number; etag: string }[] = [];
      for (let start = 0; start < size; start += PART) {
        const partNumber = start / PART + 1;
        const { etag } = await sendPart(path, start, Math.min(PART, size - start), (part) =>
          client.uploadPart({ bucketName: bucket, objectName: key, uploadID, partNumber, headers: {} }, part),
        );
        etags.push({ part: partNumber, etag });
      }
      await calling(() => client.completeMultipartUpload(bucket, key, uploadID, etags));
    } catch (error) {
      // Nobody waits for it: what is not taken back now is swept.
      client.abortMultipartUpload(bucket, key, uploadID).catch(() => undefined);
      throw error;
    }
  }

  return async (key, path) => {
    const { size } = await stat(path);
    if (size > PART) return putParts(key, path, size);
    await sendPart(path, 0, size, (part) => client.putObject(bucket, key, part, part.length, headersOf(key)));
  };
}

function headersOf(key: string): { "Content-Type": string } {
  return { "Content-Type": TYPES[key.split(".")[1] ?? ""] ?? "application/octet-stream" };
}

async function readPart(path: string, start: number, length: number): Promise<Buffer> {
  const file = await open(path);
  try {
    const part = Buffer.allocUnsafeSlow(length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await file.read(part, filled, length - filled, start + filled);
      if (bytesRead === 0) throw new Error(`${path} became shorter while it was read`);
      filled += bytesRead;
    }
    return part;
  } finally {
    await file.close();
  }
}
