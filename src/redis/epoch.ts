import { type Generated, sql } from "kysely";
import { hadEnded, PG_SNAPSHOT, parsePgSnapshot } from "../db/snapshot.ts";
import type { Db, Tx } from "../db/transaction.ts";
import type { Notices } from "../notices.ts";

declare module "../notices.ts" {
  interface NoticeTopics {
    /** All that Redis held is void. */
    "redis.void": true;
  }
}

export interface RedisEpochTable {
  singleton: Generated<boolean>;
  number: Generated<number>;
  redis_identity: string | null;
}

declare module "../db/schema.ts" {
  interface Schema {
    redis_epoch: RedisEpochTable;
  }
}

/**
 * The name of the time since which Redis was told of every change. What Redis holds bears the name of the epoch in which
 * it was made, and of an earlier one it is void. A new one begins when Redis could not be told of a change, and when it
 * is not the process that it was.
 *
 * The database's own identity is a part of it, so that what was kept of a database is void for one restored from a backup,
 * or for a replica that took over, which may lack the last commits.
 */
export interface Epoch {
  /** Null while it is not known. */
  current(): string | null;
  /** Somebody began a new one, which is not known yet. */
  forget(): void;
  /** Reads it anew. */
  refresh(): Promise<void>;
  /** Begins a new one if Redis is not the one that was seen last. */
  recognize(redisIdentity: string): Promise<void>;
  /** Begins a new one when the transaction commits; until that has ended this process knows none. */
  end(tx: Tx, xid: number): Promise<void>;
}

export function openEpoch(db: Db): Epoch {
  let current: string | null = null;
  /** Transactions of this process that begin a new one, and may not have ended yet. */
  const pending = new Set<number>();
  const refresh = async () => {
    const { name, snapshot } = await readEpoch(db);
    const seen = parsePgSnapshot(snapshot);
    for (const xid of pending) if (hadEnded(seen, xid)) pending.delete(xid);
    if (pending.size === 0) current = name;
  };
  return {
    current: () => current,
    forget: () => {
      current = null;
    },
    refresh,
    async recognize(identity) {
      await db
        .updateTable("redis_epoch")
        .set({ number: sql`number + 1`, redis_identity: identity })
        .where("redis_identity", "is distinct from", identity)
        .execute();
      await refresh();
    },
    async end(tx, xid) {
      pending.add(xid);
      current = null;
      await tx.updateTable("redis_epoch").set({ number: sql`number + 1` }).execute();
    },
  };
}

/** Transactions that have asked already: one change may be of concern to several who keep something in Redis. */
const asked = new WeakSet<Tx>();

/** For a change that a process without Redis makes: where others use one, all that it holds is void with the commit. */
export async function endEpochOfOthers(tx: Tx, notices: Notices): Promise<void> {
  if (asked.has(tx)) return;
  asked.add(tx);
  const result = await tx
    .updateTable("redis_epoch")
    .set({ number: sql`number + 1` })
    .where("redis_identity", "is not", null)
    .executeTakeFirst();
  if (result.numUpdatedRows > 0n) await notices.tell(tx, "redis.void", "");
}

/**
 * For a process that does not tell Redis of changes: what lies there is void for whoever uses it next.
 * @returns whether it was in use.
 */
export async function forgetRedis(db: Db): Promise<boolean> {
  const result = await db
    .updateTable("redis_epoch")
    .set({ number: sql`number + 1`, redis_identity: null })
    .where("redis_identity", "is not", null)
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

async function readEpoch(db: Db): Promise<{ name: string; snapshot: string }> {
  return db
    .selectFrom("redis_epoch")
    .select(
      sql<string>`(SELECT system_identifier FROM pg_control_system()) || '.' ||
        (SELECT oid FROM pg_database WHERE datname = current_database()) || '.' ||
        substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '.' || number`.as("name"),
    )
    .select(PG_SNAPSHOT.as("snapshot"))
    .executeTakeFirstOrThrow();
}
