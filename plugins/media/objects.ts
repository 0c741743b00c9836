import { NIL } from "uuid";
import type { Db } from "../../src/db/transaction.ts";
import type { KnownObject } from "../../src/ports/media.ts";
import { originalKey, renditionKey } from "./keys.ts";
import { keptMedia, renditionsOf } from "./store.ts";

const PAGE = 1_000;

/** An object that a row stands for, and since when it does. */
export interface KeptObject extends KnownObject {
  bytes: number;
  sha256: Buffer;
  since: Date;
}

/** Every object that a row stands for, a page of rows in memory at a time. */
export async function* knownObjects(db: Db): AsyncGenerator<KeptObject> {
  for (let after: string = NIL; ; ) {
    const media = await keptMedia(db, after, PAGE);
    const renditions = Map.groupBy(
      await renditionsOf(
        db,
        media.map(({ id }) => id),
      ),
      ({ medium_id }) => medium_id,
    );
    for (const { id, bytes, sha256, created_at, finished_at, original_dropped_at } of media) {
      if (original_dropped_at === null) yield { key: originalKey(id), bytes, sha256, since: created_at };
      for (const { name, version, bytes, sha256 } of renditions.get(id) ?? []) {
        yield { key: renditionKey(id, name, version), bytes, sha256, since: finished_at ?? created_at };
      }
    }
    const last = media.at(-1);
    if (last === undefined) return;
    after = last.id;
  }
}
