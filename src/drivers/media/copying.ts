import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import limitTo from "p-limit";
import { v4 as randomId } from "uuid";
import type { Progress } from "../../backup/progress.ts";
import { batchesOf } from "../../batches.ts";
import type { Config } from "../../config/schema.ts";
import { OperationError, UnreadableObjectError } from "../../errors.ts";
import type { ListedObject, MediaStore } from "../../ports/media.ts";
import { assertSpace, inStaging, openStaging } from "../../staging.ts";

const BATCH = 200;
/** Objects under way: of a store far away, most of the time is waiting. */
const AT_ONCE = 8;
/** Keys that are told one by one; the others are only counted. */
export const MOST_LISTED = 10_000;

type Fate = "copied" | "there" | "gone" | "damaged" | "unreadable";

export interface CopyReport {
  copied: number;
  copied_bytes: number;
  /** Those that the new store had already. */
  there: number;
  /** Those that were removed while they were copied. */
  gone: number;
  /** Those that are not what their row says, in the new store neither: they were not copied, unless that was asked for. */
  damaged: number;
  /** Those that the old store cannot read, and that the new one does not have as their rows say. */
  unreadable: number;
  /** The keys of the damaged and the unreadable: MOST_LISTED at most. */
  keys: { damaged: string[]; unreadable: string[] };
}

/**
 * Copies every object of `from` that `to` does not have, and reads each back from there. Others may use both meanwhile, by
 * `migratingStore`. It may be ended at any moment and run again: an object is in the new store whole or not at all.
 * @param options.hashesOf what the rows say of some objects; of those that they do not know, nothing.
 * @param options.verify compares also what is there already, by hash and not by size alone.
 * @param options.damaged copies also what is not what its row says, unless the new store has it as it should be.
 * @throws DependencyError when a store is not there; OperationError when the new one does not give back what it was given.
 */
export async function copyObjects(options: {
  from: MediaStore;
  to: MediaStore;
  config: Pick<Config, "data_dir">;
  hashesOf(keys: readonly string[]): Promise<ReadonlyMap<string, Buffer>>;
  verify: boolean;
  damaged: boolean;
  signal: AbortSignal;
  progress: Progress;
}): Promise<CopyReport> {
  const { from, to, config, hashesOf, verify, signal, progress } = options;
  const counts: Record<Fate, number> = { copied: 0, there: 0, gone: 0, damaged: 0, unreadable: 0 };
  const keys = { damaged: [] as string[], unreadable: [] as string[] };
  let bytes = 0;
  const limit = limitTo(AT_ONCE);

  async function copy(object: ListedObject, expected: Buffer | undefined): Promise<Fate> {
    signal.throwIfAborted();
    const { key } = object;
    const size = await to.size(key);
    const there = size === object.bytes;
    if (there && !verify) return "there";
    /** What is right in the new store is neither replaced by what is wrong in the old one, nor told of. */
    const isRight = async () => {
      const sha256 = expected && size !== null ? await hashIn(to, key) : null;
      return sha256 !== null && expected?.equals(sha256) === true;
    };
    const folder = await openStaging(config);
    await assertSpace(folder, object.bytes);
    const path = join(folder, `migrate-${randomId()}`);
    try {
      const sha256 = await fetchInto(from, key, path);
      if (sha256 === null) return "gone";
      if (expected && !expected.equals(sha256)) {
        if (await isRight()) return "there";
        if (!options.damaged) return "damaged";
        tell("damaged", key);
      }
      if (there && (await hashIn(to, key))?.equals(sha256)) return "there";
      await to.putFile(key, path);
      const back = await hashIn(to, key);
      // Whoever removes it takes it from the old store first.
      if ((await from.size(key)) === null) {
        await to.remove([key]);
        return "gone";
      }
      if (!back?.equals(sha256)) {
        throw new OperationError(`the new store gives ${key} back as something else`, { hint: "Run it again." });
      }
      bytes += object.bytes;
      return "copied";
    } catch (error) {
      if (error instanceof UnreadableObjectError) return (await isRight()) ? "there" : "unreadable";
      throw error;
    } finally {
      await rm(path, { force: true });
    }
  }

  function tell(fate: Fate, key: string): void {
    counts[fate] += 1;
    if ((fate === "damaged" || fate === "unreadable") && keys[fate].length < MOST_LISTED) keys[fate].push(key);
  }

  for await (const batch of batchesOf(from.list(""), BATCH)) {
    const expected = await hashesOf(batch.map(({ key }) => key));
    const outcomes = await Promise.allSettled(
      batch.map((object) =>
        limit(async () => {
          tell(await copy(object, expected.get(object.key)), object.key);
          progress(`objects: ${counts.copied} copied, ${Math.round(bytes / 1e6)} MB; ${counts.there} were there`);
        }),
      ),
    );
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed) throw failed.reason;
  }
  return { ...counts, copied_bytes: bytes, keys };
}

/** @returns the hash of the object's bytes; null when it is not there any more. */
async function fetchInto(store: MediaStore, key: string, path: string): Promise<Buffer | null> {
  const object = await store.read(key);
  if (!object) return null;
  const hash = createHash("sha256");
  const hashed = async function* (): AsyncGenerator<Buffer> {
    for await (const chunk of object.body) {
      hash.update(chunk);
      yield chunk;
    }
  };
  await inStaging(() => pipeline(hashed, createWriteStream(path, { mode: 0o600, flags: "wx" })));
  return hash.digest();
}

/** @returns null when the object is not there, or cannot be read. */
async function hashIn(store: MediaStore, key: string): Promise<Buffer | null> {
  try {
    const object = await store.read(key);
    if (!object) return null;
    const hash = createHash("sha256");
    for await (const chunk of object.body) hash.update(chunk);
    return hash.digest();
  } catch (error) {
    if (error instanceof UnreadableObjectError) return null;
    throw error;
  }
}
