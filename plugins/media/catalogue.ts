import { sql } from "kysely";
import { validate as isUuid } from "uuid";
import type { Context } from "../../src/context.ts";
import type { Db } from "../../src/db/transaction.ts";
import { OperationError } from "../../src/errors.ts";
import { originalKey, renditionKey } from "./keys.ts";
import { type Failure, type MediumRow, type MediumState, type Purpose, renditionsOf } from "./store.ts";

/** A medium as its operator sees it. */
export interface ListedMedium {
  id: string;
  kind: Purpose;
  state: MediumState;
  owner: string;
  /** Null for one that stands in no post. */
  post_id: string | null;
  /** Null for one that stands in no story. */
  story_id: string | null;
  content_type: string;
  /** Of the original, as it was uploaded. */
  bytes: number;
  /** Tries that have begun, those of `media reprocess` included. */
  attempts: number;
  failure: Failure | null;
  created_at: Date;
  attempted_at: Date | null;
  finished_at: Date | null;
}

type Row = Pick<
  MediumRow,
  "id" | "state" | "content_type" | "bytes" | "attempts" | "created_at" | "attempted_at" | "finished_at"
> &
  Pick<MediumRow, "failure_code" | "failure_message" | "sha256" | "width" | "height" | "animated"> &
  Pick<MediumRow, "original_dropped_at"> & {
    kind: Purpose;
    owner: string;
    post_id: string | null;
    story_id: string | null;
  };

const SELECTED = sql`
  SELECT media.id, media.purpose AS kind, media.state, users.username AS owner, post_media.post_id, stories.id AS story_id, media.content_type,
    media.bytes, media.attempts, media.failure_code, media.failure_message, media.created_at, media.attempted_at,
    media.finished_at, media.sha256, media.width, media.height, media.animated, media.original_dropped_at
  FROM media JOIN users ON users.id = media.owner_id LEFT JOIN post_media ON post_media.medium_id = media.id
    LEFT JOIN stories ON stories.medium_id = media.id`;

/** An id is made before its row, by the clock of another machine, and an upload takes a while. Milliseconds. */
const ID_SLACK = 24 * 3_600_000;

/** The latest media, by id. @param options.after the id that the page before ended with. */
export async function listMedia(
  db: Db,
  options: {
    ownerId: string | null;
    state: MediumState | null;
    since: Date | null;
    after: string | null;
    limit: number;
  },
): Promise<ListedMedium[]> {
  const { ownerId, state, since, after, limit } = options;
  const { rows } = await sql<Row>`${SELECTED}
    WHERE true
      ${ownerId === null ? sql`` : sql`AND media.owner_id = ${ownerId}`}
      ${state === null ? sql`` : sql`AND media.state = ${sql.lit(state)}`}
      ${since === null ? sql`` : sql`AND media.created_at >= ${since} AND media.id >= ${firstIdOf(since)}::uuid`}
      ${after === null ? sql`` : sql`AND media.id < ${after}::uuid`}
    ORDER BY media.id DESC LIMIT ${limit}`.execute(db);
  return rows.map(toListed);
}

/** An id that is smaller than those of all media whose rows were written since. */
export function firstIdOf(since: Date): string {
  const digits = Math.max(0, since.getTime() - ID_SLACK)
    .toString(16)
    .padStart(12, "0");
  return `${digits.slice(0, 8)}-${digits.slice(8)}-0000-0000-000000000000`;
}

/** One medium, with each object that its row stands for and what the store has of it. @throws OperationError for none. */
export async function showMedium({ db, media }: Pick<Context, "db" | "media">, id: string) {
  const { rows } = isUuid(id) ? await sql<Row>`${SELECTED} WHERE media.id = ${id}::uuid`.execute(db) : { rows: [] };
  const [row] = rows;
  if (!row) {
    throw new OperationError(`there is no medium ${id}`, { hint: "`tintype media list` shows the latest." });
  }
  const known = (await renditionsOf(db, [row.id])).map((rendition) => ({
    name: rendition.name as string,
    key: renditionKey(row.id, rendition.name, rendition.version),
    bytes: rendition.bytes,
    sha256: rendition.sha256,
  }));
  const { original_dropped_at, width, height, animated } = row;
  if (original_dropped_at === null) {
    known.unshift({ name: "original", key: originalKey(row.id), bytes: row.bytes, sha256: row.sha256 });
  }
  const objects = await Promise.all(
    known.map(async ({ sha256, ...object }) => ({
      ...object,
      sha256: sha256.toString("hex"),
      found_bytes: await media.size(object.key),
    })),
  );
  return { ...toListed(row), width, height, animated, original_dropped_at, objects };
}

function toListed(row: Row): ListedMedium {
  const { id, kind, state, owner, post_id, story_id, content_type, bytes, attempts, failure_code, failure_message } =
    row;
  const { created_at, attempted_at, finished_at } = row;
  const failure = failure_code === null ? null : { code: failure_code, message: failure_message ?? "" };
  const times = { created_at, attempted_at, finished_at };
  return { id, kind, state, owner, post_id, story_id, content_type, bytes, attempts, failure, ...times };
}
