import { createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { Client } from "minio";
import { v4 as randomId } from "uuid";
import type { Config } from "../../config/schema.ts";
import { ConfigError, DependencyError, UnreadableObjectError } from "../../errors.ts";
import type { ByteRange, MediaStore } from "../../ports/media.ts";
import { inStaging, openStaging } from "../../staging.ts";
import { assertFolder, assertKey, isKey } from "./keys.ts";
import { isAbsent, isPassing, toOutage, toStartError } from "./s3/errors.ts";
import { createPut, PART } from "./s3/putting.ts";
import { readingOf } from "./s3/reading.ts";
import { createTransport, type TransportOptions } from "./s3/transport.ts";

/** How often a call is tried whose failure may pass; and within how many milliseconds, so that nobody waits long for a 503. */
const TRIES = 3;
const RETRY_WITHIN = 1_000;
/** What `check` writes and removes. No key has this name. */
const CHECK = "tintype-check";

type S3Config = Pick<Config, "data_dir"> & { s3: Config["s3"] & { endpoint: string } };

/**
 * Objects in a bucket, by plain S3: no feature of one vendor's. The bucket must be there: see `prepareBucket`. Opening it
 * asks nothing of the store, so a server starts while that is down.
 *
 * Every call ends: with DependencyError after `s3.timeout` without a sign of life; a put after six seconds and one a MiB,
 * any other after a minute, in any case. A call
 * that was answered by a failure that may pass (503 SlowDown, 500, a reset) is tried again within a second.
 */
export function openS3Store(config: S3Config): MediaStore {
  const { bucket, timeout } = config.s3;
  const probes = createClient(config, { silence: timeout / 2 });
  const isAlive = onceAtATime(() =>
    probes.client.bucketExists(bucket).then(
      () => true,
      () => false,
    ),
  );
  const calls = createClient(config, { silence: timeout, isAlive });
  const downloads = createClient(config, { silence: timeout, download: true });
  const { client } = calls;
  // Only ever signs: the address is a part of the signature.
  const outward = createClient(config, { silence: timeout }, config.s3.public_endpoint);

  const put = createPut(client, bucket, {
    calling,
    wait: timeout,
    toBusy: () => new DependencyError("the S3 store is so slow that uploads wait in line"),
  });

  /** @returns null when there is no such object. The client's own getObject knows no conditions, and hides the headers. */
  async function get(key: string, range: ByteRange | null, etag?: string): Promise<IncomingMessage | null> {
    const headers = {
      ...(range ? { range: `bytes=${range.start}-${range.end}` } : {}),
      ...(etag === undefined ? {} : { "if-match": etag }),
    };
    try {
      const response = await calling(() =>
        downloads.client.makeRequestAsync(
          { method: "GET", bucketName: bucket, objectName: key, headers },
          "",
          [200, 206],
        ),
      );
      // A connection may break while nobody reads; who reads on then is told.
      return response.on("error", () => undefined);
    } catch (error) {
      if (isAbsent(error)) return null;
      throw toOutage(error);
    }
  }

  /** What it means that an object breaks off: that it is damaged, or that the whole store went away. */
  const failed = (key: string) => async (cause: unknown) =>
    client.bucketExists(bucket).then(
      () => new UnreadableObjectError(key, cause),
      (error: unknown) => toError(toOutage(error)),
    );

  const read: MediaStore["read"] = async (key, range) => {
    assertKey(key);
    const first = await get(key, range ?? null);
    if (!first) return null;
    const size = sizeOf(first);
    const end = Math.min(size, (range?.end ?? size) + 1);
    const { etag } = first.headers;
    const reopen = async (start: number) => {
      const rest = await get(key, { start, end: end - 1 }, etag);
      if (!rest) throw new Error("it was removed meanwhile");
      return rest;
    };
    return {
      size,
      body: readingOf(first, { start: range?.start ?? 0, end, silence: timeout, reopen, failed: failed(key) }),
    };
  };

  return {
    read,

    async putFile(key, path) {
      assertKey(key);
      await outage(() => put(key, path));
      // The store has a copy, and the caller is told that the file is the store's.
      await rm(path, { force: true });
    },

    async size(key) {
      assertKey(key);
      try {
        return (await calling(() => client.statObject(bucket, key))).size;
      } catch (error) {
        if (isAbsent(error)) return null;
        throw toOutage(error);
      }
    },

    async localFile(key) {
      const object = await read(key);
      if (!object) return null;
      const path = join(await openStaging(config), `download-${randomId()}`);
      const release = () => rm(path, { force: true });
      try {
        await inStaging(() => pipeline(object.body, createWriteStream(path, { mode: 0o600, flags: "wx" })));
        return { path, release };
      } catch (error) {
        await release().catch(() => undefined);
        throw error;
      }
    },

    async remove(keys) {
      for (const key of keys) assertKey(key);
      if (keys.length === 0) return;
      await outage(async () => {
        const refused = await calling(() => client.removeObjects(bucket, [...keys]));
        const first = refused.find((answer) => answer !== null && answer?.Error?.Code !== "NoSuchKey");
        if (first) throw new Error(`${first.Error?.Key} was not removed: ${first.Error?.Code} ${first.Error?.Message}`);
      });
    },

    async address(key, { method, from, seconds, reader, headers }) {
      assertKey(key);
      const signer = reader === "client" ? outward.client : client;
      const answered = {
        "response-content-type": headers["content-type"],
        "response-cache-control": headers["cache-control"],
      };
      return signer.presignedUrl(method, bucket, key, seconds, answered, from);
    },

    async *list(folder) {
      assertFolder(folder);
      for (let token = "", more = true; more; ) {
        const page = await outage(() => calling(() => client.listObjectsV2Query(bucket, folder, token, "", 1_000, "")));
        for (const { name = "", size, lastModified } of page.objects) {
          if (isKey(name) && lastModified) yield { key: name, bytes: size, modified_at: new Date(lastModified) };
        }
        more = page.isTruncated;
        token = page.nextContinuationToken;
      }
    },

    async sweep(age) {
      let removed = 0;
      for (let [key, id, more] = ["", "", true]; more; ) {
        const page = await outage(() => calling(() => client.listIncompleteUploadsQuery(bucket, "", key, id, "")));
        for (const { key, uploadId, initiated } of page.uploads) {
          if (!isKey(key) || Date.now() - new Date(initiated).getTime() < age) continue;
          await outage(() => calling(() => client.abortMultipartUpload(bucket, key, uploadId)));
          removed += 1;
        }
        [key, id, more] = [page.nextKeyMarker, page.nextUploadIdMarker, page.isTruncated];
      }
      return removed;
    },

    async isEmpty() {
      for await (const _ of this.list("")) return false;
      return true;
    },

    async check() {
      await outage(async () => {
        await client.putObject(bucket, CHECK, "Tintype looks whether it can write here.\n");
        await client.removeObject(bucket, CHECK);
      });
    },

    async close() {
      for (const each of [probes, calls, downloads, outward]) each.close();
    },
  };
}

/**
 * Looks whether the bucket is there and lets us in.
 * @param options.make whether to make it where it is not; several processes may do so at once.
 * @throws ConfigError when the store refuses us, or there is no bucket; DependencyError when it does not answer.
 */
export async function prepareBucket(config: S3Config, { make }: { make: boolean }): Promise<void> {
  const { bucket, region, timeout } = config.s3;
  const { client, close } = createClient(config, { silence: timeout });
  try {
    if (await calling(() => client.bucketExists(bucket))) return;
    if (!make) {
      throw new ConfigError(`the S3 store has no bucket ${bucket}`, {
        hint: "Run `tintype migrate`, which makes it, or look at TINTYPE_S3_BUCKET.",
      });
    }
    await client.makeBucket(bucket, region).catch(async (error: unknown) => {
      // Another process was first.
      if (!(await client.bucketExists(bucket))) throw error;
    });
  } catch (error) {
    throw error instanceof ConfigError ? error : toStartError(error);
  } finally {
    close();
  }
}

function createClient(
  { s3 }: S3Config,
  options: TransportOptions,
  endpoint?: string | null,
): { client: Client; close(): void } {
  const { hostname, port, protocol } = new URL(endpoint ?? s3.endpoint);
  const secure = protocol === "https:";
  const { transport, close } = createTransport(secure ? "https:" : "http:", options);
  const client = new Client({
    endPoint: hostname.replace(/^\[|\]$/g, ""),
    ...(port === "" ? {} : { port: Number(port) }),
    useSSL: secure,
    accessKey: s3.access_key ?? "",
    secretKey: s3.secret_key ?? "",
    region: s3.region,
    pathStyle: true,
    partSize: PART,
    transport,
    // Its own knows no time, and writes to the console.
    retryOptions: { disableRetry: true },
  });
  return { client, close };
}

/** Whoever asks while it runs gets the answer that is on its way. */
function onceAtATime<T>(ask: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= ask().finally(() => {
      running = undefined;
    });
    return running;
  };
}

async function calling<T>(call: () => Promise<T>): Promise<T> {
  const began = performance.now();
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      const wait = 50 * attempt * (1 + Math.random());
      if (attempt === TRIES || !isPassing(error) || performance.now() - began + wait > RETRY_WITHIN) throw error;
      await delay(wait);
    }
  }
}

async function outage<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toOutage(error);
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** Of the whole object, whatever part of it the answer has. */
function sizeOf({ headers }: IncomingMessage): number {
  const whole = /\/(\d+)$/.exec(headers["content-range"] ?? "")?.[1] ?? headers["content-length"];
  const size = Number(whole);
  if (whole === undefined || !Number.isSafeInteger(size))
    throw new DependencyError("the S3 store does not say how large an object is");
  return size;
}
