import pg from "pg";
import { ConfigError, DependencyError } from "../../errors.ts";

/**
 * A process' presence on the shared server: one connection with a shared lock, held for as long as the process uses it.
 * A process that dies in whatever way loses it at once, which no file with a process id could promise.
 */
export interface Presence {
  /** Takes the place of the one `serve`. @throws ConfigError when another process has it. */
  claimServe(dataDir: string): Promise<void>;
  /** Makes the database if it is missing. */
  ensureDatabase(name: string): Promise<void>;
  /** Ends the presence. @returns whether it was the last: nobody can join from then until `end`. */
  leave(): Promise<boolean>;
  end(): Promise<void>;
}

/** The first half of the keys of these advisory locks: "tint". They are taken in the database `postgres`. */
const LOCKS = 0x74_69_6e_74;
/** Shared by all who use the server, exclusive to the one who stops it. */
const PRESENCE = [LOCKS, 1];
const SERVE = [LOCKS, 2];

/** A killed `serve` lets go of its lock once the server sees its connection closed: milliseconds, unless it is busy. */
const SERVE_WAIT = "2s";

const LOCK_NOT_AVAILABLE = "55P03";
const DUPLICATE = ["42P04", "23505"];

/** @throws whatever the connection or the server reports, also when the last one just stops the server. */
export async function joinServer(
  connection: pg.ClientConfig,
  options: { role: "serve" | "command"; onLost?: (error: Error) => void },
): Promise<Presence> {
  const client = new pg.Client({
    ...connection,
    database: "postgres",
    application_name: `tintype ${options.role} ${process.pid}`,
    connectionTimeoutMillis: 10_000,
  });
  let expected = true;
  let cause: Error | undefined;
  client.on("error", (error) => {
    cause = error;
  });
  client.on("end", () => {
    if (expected) return;
    expected = true;
    options.onLost?.(
      new DependencyError("the embedded Postgres went away", {
        hint: "Its log, in postgres/log of the data dir, says why; start tintype again.",
        cause,
      }),
    );
  });
  const lock = async (call: string, key: number[]): Promise<boolean> => {
    const { rows } = await client.query<{ taken: unknown }>(`SELECT ${call}($1, $2) AS taken`, key);
    return rows[0]?.taken !== false;
  };
  try {
    await client.connect();
    await lock("pg_advisory_lock_shared", PRESENCE);
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
  expected = false;

  return {
    async claimServe(dataDir) {
      await client.query(`SET lock_timeout = '${SERVE_WAIT}'`);
      try {
        await lock("pg_advisory_lock", SERVE);
      } catch (error) {
        if ((error as pg.DatabaseError).code !== LOCK_NOT_AVAILABLE) throw error;
        const holder = await holderOf(client, SERVE);
        throw new ConfigError(`another tintype serve${holder && ` (pid ${holder})`} runs on ${dataDir}`, {
          hint: "Stop it first, or give this one a data dir of its own (TINTYPE_DATA_DIR).",
        });
      }
      await client.query("RESET lock_timeout");
    },

    async ensureDatabase(name) {
      const { rowCount } = await client.query("SELECT FROM pg_database WHERE datname = $1", [name]);
      if (rowCount !== 0) return;
      await client.query(`CREATE DATABASE ${client.escapeIdentifier(name)}`).catch((error: pg.DatabaseError) => {
        if (!DUPLICATE.includes(error.code ?? "")) throw error;
      });
    },

    async leave() {
      if (expected) return false; // it was lost
      expected = true;
      try {
        // First let go, then try: of two that leave at once, who is second to let go finds the lock free or taken by
        // the other, and one of them stops the server. With both still holding their share, neither would.
        await lock("pg_advisory_unlock_shared", PRESENCE);
        if (await lock("pg_try_advisory_lock", PRESENCE)) return true;
      } catch {
        // The server went away just now: there is nothing to leave.
      }
      await client.end().catch(() => {});
      return false;
    },

    end() {
      expected = true;
      return client.end().catch(() => {});
    },
  };
}

/** The process id of the tintype that holds a lock; empty where it has just let go. */
async function holderOf(client: pg.Client, [classId, objectId]: number[]): Promise<string> {
  const { rows } = await client.query<{ application_name: string }>(
    `SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)
      WHERE locktype = 'advisory' AND granted AND classid = $1 AND objid = $2`,
    [classId, objectId],
  );
  return rows[0]?.application_name.split(" ").at(-1) ?? "";
}
