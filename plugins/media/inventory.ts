import { sql } from "kysely";
import type { Progress } from "../../src/backup/progress.ts";
import { batchesOf } from "../../src/batches.ts";
import type { Db } from "../../src/db/transaction.ts";
import type { ListedObject, MediaStore } from "../../src/ports/media.ts";
import { PREFIXES } from "./keys.ts";
import { knownObjects } from "./objects.ts";

/** Lines that are written, and read, at once. */
const BATCH = 1_000;
const PAGE = 200;

/** An object that rows and store do not agree on, as far as one look at each can tell. */
export interface Suspect {
  key: string;
  /** Whether a row stood for it. */
  known: boolean;
  /** What the store listed; null for none. */
  found_bytes: number | null;
}

export interface Inventory {
  /** Objects that rows stand for, and those that the store has. */
  known: number;
  found: number;
  found_bytes: number;
  /** Those of the suspects that no row stood for. */
  unknown: number;
  suspects(): AsyncGenerator<Suspect[]>;
  /** Objects that are there in the right size: of each `share`, and at least `least` of them if there are so many. */
  sample(share: number, least: number): AsyncGenerator<string[]>;
}

/**
 * Lists what the rows know and what the store has, and lays one beside the other. Both lists lie in temporary tables of
 * the session, so that memory does not grow with them; no transaction stays open meanwhile. What changes while they are
 * made may look wrong: whoever reports a suspect looks again first, see standing.ts.
 *
 * Left alone is what is younger than `age` ms: rows whose objects are not there or are not right, objects without a row.
 */
export async function takeInventory(options: {
  db: Db;
  session: Db;
  media: MediaStore;
  age: number;
  signal: AbortSignal;
  progress: Progress;
}): Promise<Inventory> {
  const { db, session, media, age, signal, progress } = options;
  await sql`CREATE TEMP TABLE known_objects (key text, bytes bigint, since timestamptz)`.execute(session);
  await sql`CREATE TEMP TABLE found_objects (key text, bytes bigint, modified_at timestamptz)`.execute(session);
  const { rows } = await sql<{ cutoff: Date }>`
    SELECT clock_timestamp() - ${age} * interval '1 millisecond' AS cutoff`.execute(session);
  const cutoff = rows[0]?.cutoff;

  // The rows first: what is put meanwhile is then an object without a row, and young.
  let known = 0;
  for await (const batch of batchesOf(knownObjects(db), BATCH)) {
    signal.throwIfAborted();
    await sql`
      INSERT INTO known_objects SELECT * FROM unnest(
        ${batch.map(({ key }) => key)}::text[], ${batch.map(({ bytes }) => bytes)}::bigint[],
        ${batch.map(({ since }) => since)}::timestamptz[])`.execute(session);
    known += batch.length;
    progress(`rows: ${known} objects known`);
  }
  let found = 0;
  let foundBytes = 0;
  for await (const batch of batchesOf(listAll(media), BATCH)) {
    signal.throwIfAborted();
    await sql`
      INSERT INTO found_objects SELECT * FROM unnest(
        ${batch.map(({ key }) => key)}::text[], ${batch.map(({ bytes }) => bytes)}::bigint[],
        ${batch.map(({ modified_at }) => modified_at)}::timestamptz[])`.execute(session);
    found += batch.length;
    foundBytes += batch.reduce((sum, { bytes }) => sum + bytes, 0);
    progress(`store: ${found} objects found`);
  }
  progress("comparing");
  await sql`ANALYZE known_objects, found_objects`.execute(session);

  await sql`
    CREATE TEMP TABLE suspects AS
    SELECT row_number() OVER ()::int AS place, key, known.key IS NOT NULL AS known, found.bytes AS found_bytes
    FROM known_objects known FULL JOIN found_objects found USING (key)
    WHERE CASE WHEN known.key IS NULL THEN found.modified_at <= ${cutoff}
          ELSE known.since <= ${cutoff} AND found.bytes IS DISTINCT FROM known.bytes END`.execute(session);
  const counted = await sql<{ n: number }>`SELECT count(*)::int AS n FROM suspects WHERE NOT known`.execute(session);

  return {
    known,
    found,
    found_bytes: foundBytes,
    unknown: counted.rows[0]?.n ?? 0,
    suspects: () => pages<Suspect>(session, "suspects"),
    async *sample(share, least) {
      const enough = Math.max(share, least / Math.max(known, 1));
      await sql`
        CREATE TEMP TABLE sampled AS
        SELECT row_number() OVER ()::int AS place, key
        FROM known_objects known JOIN found_objects found USING (key)
        WHERE known.since <= ${cutoff} AND found.bytes = known.bytes AND random() < ${enough}`.execute(session);
      for await (const page of pages<{ key: string }>(session, "sampled")) yield page.map(({ key }) => key);
    },
  };
}

async function* listAll(media: MediaStore): AsyncGenerator<ListedObject> {
  for (const prefix of PREFIXES) yield* media.list(prefix);
}

/** The rows of a temporary table that has a `place`, in its order. */
async function* pages<Row>(session: Db, table: "suspects" | "sampled"): AsyncGenerator<Row[]> {
  await sql`ALTER TABLE ${sql.table(table)} ADD PRIMARY KEY (place)`.execute(session);
  for (let after = 0; ; after += PAGE) {
    const { rows } = await sql<Row>`
      SELECT * FROM ${sql.table(table)} WHERE place > ${after} AND place <= ${after + PAGE} ORDER BY place`.execute(
      session,
    );
    if (rows.length === 0) return;
    yield rows;
  }
}
