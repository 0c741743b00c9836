import { createHash } from "node:crypto";
import { UnreadableObjectError } from "../errors.ts";
import type { KnownObject, MediaObject, MediaStore } from "../ports/media.ts";
import type { Summary } from "./format.ts";
import type { Progress } from "./progress.ts";
import type { BackupWriter, Place } from "./writer.ts";

/** What is written in place of bytes that cannot be read, so much at a time. */
const ZEROS = Buffer.alloc(64 << 10);

/** A line of objects/<n>.jsonl. */
interface ObjectLine {
  key: string;
  bytes: number | null;
  sha256: string | null;
}

export function lineOf({ key, bytes, sha256 }: KnownObject): Buffer {
  const line: ObjectLine = { key, bytes, sha256: sha256?.toString("hex") ?? null };
  return Buffer.from(`${JSON.stringify(line)}\n`);
}

/**
 * Writes the objects of these lists, which lie in the file already. One that is missing, or cannot be read, is no reason
 * to be without all the others: it is named.
 * @throws DependencyError when the store itself is not there.
 */
export async function writeObjects(
  writer: BackupWriter,
  lists: readonly Place[],
  { media, progress }: { media: Pick<MediaStore, "read">; progress: Progress },
): Promise<Pick<Summary, "objects" | "missing" | "damaged" | "unreadable">> {
  const found = { objects: 0, missing: [] as string[], damaged: [] as string[], unreadable: [] as string[] };
  for (const place of lists) {
    const lines = (await writer.read(place)).toString().trimEnd().split("\n");
    for (const line of lines) {
      const known: ObjectLine = JSON.parse(line);
      const state = await writeObject(writer, known, media);
      if (state === "missing" || state === "unreadable") found[state].push(known.key);
      else found.objects += 1;
      if (state === "damaged" || state === "unreadable") found.damaged.push(known.key);
      progress(`media: ${found.objects} objects, ${Math.round(writer.bytes / 1e6)} MB`);
    }
  }
  return found;
}

async function writeObject(
  writer: BackupWriter,
  known: ObjectLine,
  media: Pick<MediaStore, "read">,
): Promise<"whole" | "damaged" | "missing" | "unreadable"> {
  let object: MediaObject | null;
  try {
    object = await media.read(known.key);
  } catch (error) {
    if (error instanceof UnreadableObjectError) return "unreadable";
    throw error;
  }
  if (!object) return "missing";
  const content = asLongAsItsSize(object);
  await writer.add(`media/${known.key}`, object.size, content.chunks());
  const sha256 = content.sha256();
  if (sha256 === null) return "unreadable";
  const isWhole = known.bytes === null || known.bytes === object.size;
  return isWhole && (known.sha256 === null || known.sha256 === sha256) ? "whole" : "damaged";
}

/**
 * The bytes of an object, as many as its size says, for an entry's header is written before they are read: zeros stand
 * for what cannot be read, and what is too much is left out.
 */
function asLongAsItsSize({ size, body }: MediaObject): {
  chunks(): AsyncGenerator<Buffer>;
  /** Of all its bytes, once they were read; null when they were not what its size says. */
  sha256(): string | null;
} {
  const hash = createHash("sha256");
  let left = size;
  let isWhole = true;
  async function* readable(): AsyncGenerator<Buffer> {
    try {
      yield* body;
    } catch (error) {
      if (!(error instanceof UnreadableObjectError)) throw error;
    }
  }
  return {
    async *chunks() {
      for await (const chunk of readable()) {
        if (chunk.length > left) {
          isWhole = false;
          break;
        }
        left -= chunk.length;
        hash.update(chunk);
        yield chunk;
      }
      isWhole &&= left === 0;
      for (; left > 0; left -= Math.min(left, ZEROS.length)) yield ZEROS.subarray(0, left);
    },
    sha256: () => (isWhole ? hash.digest("hex") : null),
  };
}
