import type { Readable } from "node:stream";
import type { Context } from "../../src/context.ts";
import type { TakeoutEntry } from "../../src/takeout.ts";
import { originalKey } from "./keys.ts";
import { avatarMedia, type MediumRow } from "./store.ts";

/** Of everything that an upload may be, see sniff.ts. */
const EXTENSIONS: Readonly<Record<string, string>> = {
  "image/jpeg": "jpg",
  "image/png": "png",
  "image/webp": "webp",
  "image/gif": "gif",
  "image/avif": "avif",
  "image/heic": "heic",
};

/** What a file of this medium is called in a takeout. @param path without its extension. */
export function originalPath(path: string, { content_type }: Pick<MediumRow, "content_type">): string {
  return `${path}.${EXTENSIONS[content_type] ?? "bin"}`;
}

/** The file as it was uploaded. @param path with its extension. */
export function originalEntry({ media }: Pick<Context, "media">, path: string, mediumId: string): TakeoutEntry {
  return {
    path,
    packed: true,
    open: async (): Promise<Readable | null> => (await media.read(originalKey(mediumId)))?.body ?? null,
  };
}

/** What belongs to the account itself: its avatar, and an upload that has not become that, or never will. */
export async function* mediaTakeout(
  context: Pick<Context, "db" | "media">,
  userId: string,
): AsyncGenerator<TakeoutEntry> {
  for (const medium of await avatarMedia(context.db, userId)) {
    const path = originalPath(medium.is_shown ? "avatar" : "avatar_upload", medium);
    yield originalEntry(context, path, medium.id);
  }
}
