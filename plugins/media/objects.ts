import { NIL } from "uuid";
import type { Db } from "../../src/db/transaction.ts";
import type { KnownObject } from "../../src/ports/media.ts";
import { originalKey, renditionKey } from "./keys.ts";
import { keptMedia, renditionsOf } from "./store.ts";

const PAGE = 1_000;

/** Every object that a row stands for, a page of rows in memory at a time. */
export async function* knownObjects(db: Db): AsyncGenerator<KnownObject> {
  for (let after: string = NIL; ; ) {
    const media = await keptMedia(db, after, PAGE);
    for (const { id, bytes, sha256 } of media) yield { key: originalKey(id), bytes, sha256 };
    const ids = media.map(({ id }) => id);
    for (const { medium_id, name, version, bytes, sha256 } of await renditionsOf(db, ids)) {
      yield { key: renditionKey(medium_id, name, version), bytes, sha256 };
    }
    const last = ids.at(-1);
    if (last === undefined) return;
    after = last;
  }
}
