import type { Readable } from "node:stream";
import type { Context } from "../../src/context.ts";
import type { TakeoutEntry } from "../../src/takeout.ts";
import { originalKey, renditionKey } from "./keys.ts";
import { avatarMedia, type MediumRow, renditionsOf } from "./store.ts";

/** Of everything that an upload may be, see sniff.ts. */
const EXTENSIONS: Readonly<Record<string, string>> = {
  "image/jpeg": "jpg",
  "image/png": "png",
  "image/webp": "webp",
  "image/gif": "gif",
  "image/avif": "avif",
  "image/heic": "heic",
};

/** What a takeout asks of a medium. */
export type TakenMedium = Pick<MediumRow, "id" | "content_type"> & { original_kept: boolean };

/** What a file of this medium is called in a takeout. @param path without its extension. */
export function picturePath(path: string, { content_type, original_kept }: TakenMedium): string {
  return `${path}.${original_kept ? (EXTENSIONS[content_type] ?? "bin") : "webp"}`;
}

/** The file as it was uploaded, or the largest rendition where that was given up. @param path with its extension. */
export function pictureEntry(
  { db, media }: Pick<Context, "db" | "media">,
  path: string,
  { id, original_kept }: TakenMedium,
): TakeoutEntry {
  const keyOf = async (): Promise<string | null> => {
    if (original_kept) return originalKey(id);
    const large = (await renditionsOf(db, [id])).find(({ name }) => name === "large");
    return large ? renditionKey(id, large.name, large.version) : null;
  };
  return {
    path,
    packed: true,
    async open(): Promise<Readable | null> {
      const key = await keyOf();
      return key === null ? null : ((await media.read(key))?.body ?? null);
    },
  };
}

/** What belongs to the account itself: its avatar, and an upload that has not become that, or never will. */
export async function* mediaTakeout(
  context: Pick<Context, "db" | "media">,
  userId: string,
): AsyncGenerator<TakeoutEntry> {
  for (const medium of await avatarMedia(context.db, userId)) {
    const path = picturePath(medium.is_shown ? "avatar" : "avatar_upload", medium);
    yield pictureEntry(context, path, medium);
  }
}
