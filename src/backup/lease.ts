import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import { describe } from "../db/database.ts";
import type { Db } from "../db/transaction.ts";
import { OperationError } from "../errors.ts";

/** Seconds that a lease lasts unless it is renewed: so long a killed backup holds deletions up. */
export const LEASE_SECONDS = 20;
const RENEWAL_MS = 4_000;

/**
 * While a backup runs, objects stay. Whoever removes them asks `isBackupRunning` **after** it has been committed that
 * nobody needs them any more, and waits if there is one. A backup takes its lease first, and its snapshot then.
 *
 * So nothing in a snapshot loses its object: if the remover saw no lease, its look came before the lease, and the commit
 * before that look; the snapshot, which comes after the lease, has the rows without the object. How long the removal
 * then takes does not matter. If a backup is stopped for longer than its lease, removals go on, and it is the backup that
 * is given up: an expired lease is never renewed, and a file only gets its name while the lease is held.
 */
export interface Lease {
  /** Aborted, with the reason, when the lease was lost. */
  readonly lost: AbortSignal;
  /** Ends it. @throws OperationError when it had been lost: what was read meanwhile may lack objects. */
  end(): Promise<void>;
}

/** Whether objects must stay for now. All times are the database's. */
export async function isBackupRunning(db: Db): Promise<boolean> {
  const { rows } = await sql`SELECT FROM backup_leases WHERE expires_at > clock_timestamp()`.execute(db);
  return rows.length > 0;
}

/** @throws OperationError when another backup holds it. */
export async function takeLease(db: Db): Promise<Lease> {
  const holder = randomUUID();
  const until = sql`clock_timestamp() + ${LEASE_SECONDS} * interval '1 second'`;
  const held = sql`holder = ${holder} AND expires_at > clock_timestamp()`;
  const { rows } = await sql`
    INSERT INTO backup_leases AS lease (holder, expires_at) VALUES (${holder}, ${until})
    ON CONFLICT (single) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
      WHERE lease.expires_at <= clock_timestamp()
    RETURNING holder`.execute(db);
  if (rows.length === 0) {
    throw new OperationError("another backup is running", {
      hint: `Wait for it. One that was killed is forgotten after ${LEASE_SECONDS} seconds.`,
    });
  }

  const lost = new AbortController();
  const lose = (why: string) =>
    lost.abort(
      new OperationError(`the backup was given up: it held deletions up no longer (${why})`, { hint: "Run it again." }),
    );
  let heldUntil = performance.now() + LEASE_SECONDS * 1_000;
  const timer = setInterval(async () => {
    const asked = performance.now();
    try {
      const renewed = await sql`UPDATE backup_leases SET expires_at = ${until} WHERE ${held} RETURNING holder`.execute(
        db,
      );
      if (renewed.rows.length === 0) lose("it was stopped for too long");
      else heldUntil = asked + LEASE_SECONDS * 1_000;
    } catch (error) {
      // Postgres may be back in time.
      if (performance.now() > heldUntil) lose(describe(error));
    }
  }, RENEWAL_MS);

  return {
    lost: lost.signal,
    async end() {
      clearInterval(timer);
      const ended = await sql`DELETE FROM backup_leases WHERE ${held} RETURNING holder`.execute(db);
      if (ended.rows.length === 0) lose("it was stopped for too long");
      lost.signal.throwIfAborted();
    },
  };
}
