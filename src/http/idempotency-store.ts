import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import { LRUCache } from "lru-cache";
import type { Db, Tx } from "../db/transaction.ts";

export interface IdempotencyKeysTable {
  user_id: string;
  scope: Buffer;
  token: string;
  held_until: Date;
  created_at: Date;
  status: number | null;
  body: string | null;
  fingerprint: Buffer | null;
}

declare module "../db/schema.ts" {
  interface Schema {
    idempotency_keys: IdempotencyKeysTable;
  }
}

/** Which key of whom, for which method and path. */
export interface Scope {
  user_id: string;
  /** SHA-256 of method, path and key. */
  scope: Buffer;
}

/** A key that a request has in hand. */
export interface Claim extends Scope {
  token: string;
}

export interface StoredAnswer {
  status: number;
  /** JSON, or empty. */
  body: string;
  /** Of what was sent; see fingerprint.ts. */
  fingerprint: Buffer;
}

/** Milliseconds after which the key of a process that was killed can be claimed again. */
export const LEASE = 10_000;
/** Milliseconds that an answer is kept. */
const KEPT = 24 * 3_600_000;
/** An account's rows, roughly: more than one a second, all day. They are some 30 MB. */
export const KEYS_PER_ACCOUNT = 100_000;
/** A claim that changed hands between two looks is looked at again, so often. */
const LOOKS = 3;
const BATCH = 1_000;

const after = (milliseconds: number) => sql<Date>`clock_timestamp() + ${milliseconds} * interval '1 millisecond'`;

/** How many rows accounts have, by id. */
export interface RowCounts {
  get(userId: string): number | undefined;
  set(userId: string, rows: number): unknown;
}

/**
 * To count rows at each claim would cost the more the more there are. So they are counted every ten minutes, and what this
 * process adds is added.
 */
export function roughCounts(): RowCounts {
  return new LRUCache({ max: 10_000, ttl: 600_000, noUpdateTTL: true });
}

/**
 * Claims a key, or says what became of it; "full" where it is a new one and the account has its fill of them. Nobody waits
 * for the work of a key here: a row that is locked is one whose work commits just now, so it is under way. By its foreign
 * key a claim does wait while the account's row is locked for a change of its name or password, or for its end.
 */
export async function claimKey(
  db: Db,
  scope: Scope,
  counts: RowCounts = roughCounts(),
): Promise<{ claim: Claim } | { stored: StoredAnswer } | "running" | "full"> {
  const claim = { ...scope, token: randomUUID() };
  for (let look = 0; look < LOOKS; look++) {
    const row = await insertClaim(db, claim, counts.get(scope.user_id) ?? null);
    counts.set(scope.user_id, row.rows + (row.made ? 1 : 0));
    if (row.made) return { claim };
    if (row.over) {
      if (await takeOver(db, claim)) return { claim };
    } else if (row.status !== null && row.body !== null && row.fingerprint !== null) {
      return { stored: { status: row.status, body: row.body, fingerprint: row.fingerprint } };
    } else if (row.over === false) return "running";
    else if (row.rows >= KEYS_PER_ACCOUNT) return "full";
  }
  return "running";
}

interface Look extends Pick<IdempotencyKeysTable, "status" | "body" | "fingerprint"> {
  /** Whether the row's time is over; null where there was none. */
  over: boolean | null;
  made: boolean;
  /** Of the account, roughly, before. */
  rows: number;
}

/**
 * One look, and a claim where there was no row. (An insert that meets a row would wait for a transaction that has it.)
 * @param counted how many rows the account has, null to have them counted.
 */
async function insertClaim(db: Db, { user_id, scope, token }: Claim, counted: number | null): Promise<Look> {
  const { rows } = await sql<Look>`
    WITH found AS (
      SELECT status, body, fingerprint, held_until <= clock_timestamp() AS over
      FROM idempotency_keys WHERE user_id = ${user_id} AND scope = ${scope}
    ), own AS (
      SELECT coalesce(${counted}::int, (
        SELECT count(*)::int
        FROM (SELECT FROM idempotency_keys WHERE user_id = ${user_id} LIMIT ${KEYS_PER_ACCOUNT}) AS counted
      )) AS rows
    ), made AS (
      INSERT INTO idempotency_keys (user_id, scope, token, held_until)
      SELECT ${user_id}::uuid, ${scope}::bytea, ${token}::uuid, ${after(LEASE)}
      FROM own WHERE rows < ${KEYS_PER_ACCOUNT} AND NOT EXISTS (SELECT FROM found)
      ON CONFLICT DO NOTHING
      RETURNING token
    )
    SELECT status, body, fingerprint, over, rows, EXISTS (SELECT FROM made) AS made
    FROM own LEFT JOIN found ON true`.execute(db);
  if (!rows[0]) throw new Error("an aggregate has a row");
  return rows[0];
}

/** Of a lease that ended without an answer, or an answer whose time is over. */
async function takeOver(db: Db, { user_id, scope, token }: Claim): Promise<boolean> {
  const { numAffectedRows } = await sql`
    UPDATE idempotency_keys
    SET token = ${token}, held_until = ${after(LEASE)}, created_at = clock_timestamp(),
      status = NULL, body = NULL, fingerprint = NULL
    WHERE (user_id, scope) IN (
      SELECT user_id, scope FROM idempotency_keys
      WHERE user_id = ${user_id} AND scope = ${scope} AND held_until <= clock_timestamp()
      FOR UPDATE SKIP LOCKED
    )`.execute(db);
  return numAffectedRows === 1n;
}

/** @returns whether the claim was still one's own; if not, what was done under it must not commit. */
export async function storeAnswer(db: Db | Tx, claim: Claim, answer: StoredAnswer): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable("idempotency_keys")
    .set({ ...answer, held_until: after(KEPT) })
    .where("user_id", "=", claim.user_id)
    .where("scope", "=", claim.scope)
    .where("token", "=", claim.token)
    .where("status", "is", null)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/**
 * Gives a key back that got no answer. A row that is locked is left to its lease: its transaction may be committing, of
 * which this process could not hear (its connection broke).
 */
export async function releaseKey(db: Db, { user_id, scope, token }: Claim): Promise<void> {
  await sql`
    DELETE FROM idempotency_keys WHERE (user_id, scope) IN (
      SELECT user_id, scope FROM idempotency_keys
      WHERE user_id = ${user_id} AND scope = ${scope} AND token = ${token} AND status IS NULL
      FOR UPDATE SKIP LOCKED
    )`.execute(db);
}

/** Prolongs the leases of all these. What is locked commits, and needs none. */
export async function renewClaims(db: Db, claims: readonly Claim[]): Promise<void> {
  await sql`
    UPDATE idempotency_keys SET held_until = ${after(LEASE)}
    WHERE (user_id, scope) IN (
      SELECT user_id, scope
      FROM idempotency_keys
      JOIN unnest(
        ${claims.map((claim) => claim.user_id)}::uuid[],
        ${claims.map((claim) => claim.scope)}::bytea[],
        ${claims.map((claim) => claim.token)}::uuid[]
      ) AS mine (user_id, scope, token) USING (user_id, scope, token)
      WHERE status IS NULL
      FOR UPDATE OF idempotency_keys SKIP LOCKED
    )`.execute(db);
}

/** Removes what is void already. @returns how many. */
export async function sweepKeys(db: Db, signal: AbortSignal): Promise<number> {
  return inBatches(signal, () =>
    sql`
      DELETE FROM idempotency_keys WHERE (user_id, scope) IN (
        SELECT user_id, scope FROM idempotency_keys
        WHERE created_at < clock_timestamp() - ${KEPT} * interval '1 millisecond' AND held_until <= clock_timestamp()
        ORDER BY created_at LIMIT ${BATCH}
        FOR UPDATE SKIP LOCKED
      )`.execute(db),
  );
}

/** Removes all of an account. What is still under way there cannot commit any more. */
export async function eraseKeys(db: Db, userId: string, signal: AbortSignal): Promise<void> {
  await inBatches(signal, () =>
    sql`
      DELETE FROM idempotency_keys WHERE (user_id, scope) IN (
        SELECT user_id, scope FROM idempotency_keys WHERE user_id = ${userId} LIMIT ${BATCH}
      )`.execute(db),
  );
}

async function inBatches(
  signal: AbortSignal,
  remove: () => Promise<{ numAffectedRows?: bigint | undefined }>,
): Promise<number> {
  for (let removed = 0; ; ) {
    signal.throwIfAborted();
    const count = Number((await remove()).numAffectedRows ?? 0);
    removed += count;
    if (count < BATCH) return removed;
  }
}
