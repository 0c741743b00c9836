import { createHash } from "node:crypto";
import limitTo from "p-limit";
import type pg from "pg";
import { explainFailure } from "../../src/backup/failure.ts";
import type { Progress } from "../../src/backup/progress.ts";
import type { Context } from "../../src/context.ts";
import { openSession } from "../../src/db/session.ts";
import { UnreadableObjectError } from "../../src/errors.ts";
import type { MediaStore } from "../../src/ports/media.ts";
import { type Suspect, takeInventory } from "./inventory.ts";
import { mediumOfKey } from "./keys.ts";
import { type Standing, standingOf } from "./standing.ts";

/** Objects that are looked at, or read, at once: of a store far away, each look is a wait. */
const AT_ONCE = 8;
/** Of a small store all objects are read, whatever the share. */
const LEAST_HASHED = 1_000;
/** Differences that are told one by one; the others are only counted. */
export const MOST_LISTED = 10_000;

/** missing: a row stands for it. orphan: no row does. The others: it is not what its row says, or cannot be read. */
export type DifferenceKind = "missing" | "orphan" | "wrong_size" | "wrong_hash" | "unreadable";

export interface Difference {
  kind: DifferenceKind;
  key: string;
  /** Null for an object whose key names none. */
  medium_id: string | null;
  /** What the row says; null for an orphan. */
  expected_bytes: number | null;
  /** What the store has; null for a missing object. */
  found_bytes: number | null;
}

export interface Verification {
  ok: boolean;
  known: number;
  found: number;
  found_bytes: number;
  /** Objects that were read to their end and hashed. */
  hashed: number;
  counts: Record<DifferenceKind, number>;
  /** The first of them: MOST_LISTED at most. */
  differences: Difference[];
  duration_ms: number;
}

/** What a ledger's work is given. */
export interface LedgerWork {
  context: Context;
  connection: pg.PoolConfig;
  /** Milliseconds: what is younger is left alone. */
  age: number;
  signal: AbortSignal;
  progress: Progress;
}

/**
 * Lays rows and objects beside each other, both ways, and reads a share of the objects again. Whatever looks wrong is
 * looked at once more before it is told, so that what others change meanwhile is no difference.
 * @param share of the objects that are read and hashed, from 0 to 1.
 * @throws DependencyError when the store, or Postgres, is not there.
 */
export async function verifyMedia({ share, ...work }: LedgerWork & { share: number }): Promise<Verification> {
  const { context, connection, signal, progress } = work;
  const { db, media } = context;
  const started = performance.now();
  const counts = { missing: 0, orphan: 0, wrong_size: 0, wrong_hash: 0, unreadable: 0 };
  const differences: Difference[] = [];
  let hashed = 0;
  const tell = (found: readonly (Difference | null)[]) => {
    for (const difference of found) {
      if (difference === null) continue;
      counts[difference.kind] += 1;
      if (differences.length < MOST_LISTED) differences.push(difference);
    }
  };
  const session = openSession(connection, "tintype media");
  try {
    const inventory = await takeInventory({ ...work, db, media, session });
    let looked = 0;
    for await (const suspects of inventory.suspects()) {
      signal.throwIfAborted();
      tell(await lookAgain(context, suspects));
      looked += suspects.length;
      progress(`looking again: ${looked} objects`);
    }
    const limit = limitTo(AT_ONCE);
    if (share > 0) {
      for await (const keys of inventory.sample(share, LEAST_HASHED)) {
        signal.throwIfAborted();
        const read = await limit.map(keys, (key) => hashOf(media, key));
        hashed += read.filter(({ sha256 }) => sha256 !== null).length;
        const now = await standingOf(db, keys);
        tell(read.map((object) => judgeHash(object, now.get(object.key))));
        progress(`hashes: ${hashed} objects read`);
      }
    }
    const { known, found, found_bytes } = inventory;
    const ok = Object.values(counts).every((count) => count === 0);
    const duration_ms = Math.round(performance.now() - started);
    return { ok, known, found, found_bytes, hashed, counts, differences, duration_ms };
  } catch (error) {
    throw signal.aborted ? signal.reason : explainFailure(error);
  } finally {
    await session.destroy();
  }
}

/**
 * The suspects that differ now too. An object that was removed with its row meanwhile has gone before the rows are asked;
 * one without a row is asked for once more after them.
 */
async function lookAgain({ db, media }: Context, suspects: readonly Suspect[]): Promise<(Difference | null)[]> {
  const limit = limitTo(AT_ONCE);
  const sizes = await limit.map(suspects, ({ key }) => media.size(key));
  const now = await standingOf(
    db,
    suspects.map(({ key }) => key),
  );
  return limit.map(suspects, async ({ key }, index) => {
    const size = sizes[index] ?? null;
    const standing = now.get(key);
    if (standing?.state === "needed") {
      if (size === standing.bytes) return null;
      return difference(size === null ? "missing" : "wrong_size", key, standing.bytes, size);
    }
    if (standing?.state !== "unneeded" || size === null) return null;
    const left = await media.size(key);
    return left === null ? null : difference("orphan", key, null, left);
  });
}

interface ReadObject {
  key: string;
  /** How many bytes there were; null when it is not there, or cannot be read. */
  bytes: number | null;
  sha256: Buffer | null;
  unreadable: boolean;
}

async function hashOf(media: MediaStore, key: string): Promise<ReadObject> {
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    const object = await media.read(key);
    if (!object) return { key, bytes: null, sha256: null, unreadable: false };
    for await (const chunk of object.body) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  } catch (error) {
    if (!(error instanceof UnreadableObjectError)) throw error;
    return { key, bytes: null, sha256: null, unreadable: true };
  }
  return { key, bytes, sha256: hash.digest(), unreadable: false };
}

function judgeHash(object: ReadObject, standing: Standing | undefined): Difference | null {
  if (standing?.state !== "needed") return null;
  const { key, bytes, sha256, unreadable } = object;
  if (unreadable) return difference("unreadable", key, standing.bytes, null);
  if (sha256 === null) return difference("missing", key, standing.bytes, null);
  return standing.sha256?.equals(sha256) ? null : difference("wrong_hash", key, standing.bytes, bytes);
}

function difference(
  kind: DifferenceKind,
  key: string,
  expected_bytes: number | null,
  found_bytes: number | null,
): Difference {
  return { kind, key, medium_id: mediumOfKey(key), expected_bytes, found_bytes };
}
