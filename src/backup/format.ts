import { type Static, Type } from "typebox";
import { Value } from "typebox/value";
import { OperationError } from "../errors.ts";
import { BLOCK, END_OF_ARCHIVE, padding, tarHeader } from "./tar.ts";

/**
 * A backup is a tar archive, in this order:
 *
 *     manifest.json            what it is, and the schema of what follows
 *     tables/<name>/<n>.copy   rows as COPY writes them (text), in pieces of whole rows
 *     jobs/<n>.copy            rows of pgboss.job
 *     objects/<n>.jsonl        {key, bytes, sha256} of every object that the rows know
 *     media/<key>              the objects
 *     summary.json             how many there were of each, and which objects are missing or damaged
 *     end.json                 the SHA-256 of every byte before it
 *
 * The one hash at the end finds what a hash for each entry would not: a byte that was changed between them, an entry
 * that was taken out or put in, an end that was cut off.
 */
export const FORMAT = "tintype backup";
export const FORMAT_VERSION = 1;

export const MANIFEST = "manifest.json";
export const SUMMARY = "summary.json";
const END = "end.json";

/** Bytes of rows in an entry, but for a last row that is longer: what is held in memory at once. */
export const PIECE_BYTES = 4 << 20;

const Table = Type.Object({ name: Type.String({ pattern: "^[a-z0-9_]+$" }), columns: Type.Array(Type.String()) });
export type Table = Static<typeof Table>;

const Manifest = Type.Object({
  format: Type.Literal(FORMAT),
  format_version: Type.Literal(FORMAT_VERSION),
  id: Type.String({ pattern: "^[0-9a-f-]{36}$" }),
  created_at: Type.String(),
  /** Versions of what made it. */
  application: Type.String(),
  postgres: Type.String(),
  pgboss: Type.Integer(),
  migrations: Type.Array(Type.Object({ version: Type.Integer(), name: Type.String(), checksum: Type.String() })),
  tables: Type.Array(Table),
  /** The columns of the jobs. */
  jobs: Type.Object({ columns: Type.Array(Type.String()) }),
  /** The last value that each sequence gave; those that gave none are left out. */
  sequences: Type.Array(Type.Object({ name: Type.String(), last_value: Type.Integer() })),
});
export type Manifest = Static<typeof Manifest>;

const Summary = Type.Object({
  /** Rows by table. */
  tables: Type.Record(Type.String(), Type.Integer()),
  jobs: Type.Integer(),
  /** Those that a restore puts into the store. */
  objects: Type.Integer(),
  missing: Type.Array(Type.String()),
  /** Not what the rows say. */
  damaged: Type.Array(Type.String()),
  /** Those of the damaged whose entry, if there is one, has zeros in place of what could not be read. */
  unreadable: Type.Array(Type.String()),
});
export type Summary = Static<typeof Summary>;

/** Bytes of what ends every backup. */
export const ENDING_BYTES = ending(Buffer.alloc(32)).length;

/** The last entry and the archive's end: the only bytes that may follow those with this hash. */
export function ending(sha256: Buffer): Buffer {
  const content = Buffer.from(`${JSON.stringify({ sha256: sha256.toString("hex") })}\n`);
  return Buffer.concat([
    tarHeader({ name: END, size: content.length }, 0),
    content,
    padding(content.length),
    END_OF_ARCHIVE,
  ]);
}

/** Whether these bytes end a backup, whatever hash they name. */
export function looksLikeEnding(bytes: Buffer): boolean {
  return bytes.subarray(0, BLOCK).equals(ending(Buffer.alloc(32)).subarray(0, BLOCK));
}

export function parseManifest(bytes: Buffer, file: string): Manifest {
  const manifest = parseJson(bytes);
  if (Value.Check(Manifest, manifest)) return manifest;
  const { format_version, application = "?" } = Object(manifest);
  throw new OperationError(`${file} is a backup of format ${format_version}, made by tintype ${application}`, {
    hint: `This tintype reads format ${FORMAT_VERSION}: restore with the version that made it.`,
  });
}

export function parseSummary(bytes: Buffer, file: string): Summary {
  const summary = parseJson(bytes);
  if (Value.Check(Summary, summary)) return summary;
  throw new OperationError(`${file} has no summary that can be read`);
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return null;
  }
}
