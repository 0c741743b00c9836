import type pg from "pg";
import type { Test } from "tap";
import { waitFor } from "../server.ts";
import type { Scene } from "./scene.ts";
import type { World } from "./world.ts";

/**
 * Lets ana's read of server 0, which finds nothing in Redis, come to the gate, does something, and lets it go on. Once more
 * if that took longer than a read may wait.
 */
export async function heldRead(
  { redis, read }: Scene,
  gate: Awaited<ReturnType<typeof gateOf>>,
  work: () => Promise<void>,
) {
  for (let tries = 0; tries < 10; tries++) {
    await redis.flushall();
    await gate.close();
    const reading = read(0);
    await gate.waiting();
    await work();
    await gate.open();
    if ((await reading).status === 200) return;
  }
  throw new Error("no read was answered");
}

/** A place in Postgres at which statements and commits wait while it is closed. */
export async function gateOf(t: Test, { sql }: World) {
  await sql.query(`CREATE FUNCTION wait_at_gate(queries text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
    IF current_query() LIKE queries THEN
      PERFORM pg_advisory_lock_shared(${GATE}); PERFORM pg_advisory_unlock_shared(${GATE});
    END IF;
    RETURN true;
  END$$`);
  await sql.query(`CREATE FUNCTION commit_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    PERFORM wait_at_gate('%'); RETURN NULL;
  END$$`);
  let keeper: pg.PoolClient | undefined;
  const open = async () => {
    await keeper?.query(`SELECT pg_advisory_unlock(${GATE})`);
    keeper?.release();
    keeper = undefined;
  };
  t.teardown(open);
  return {
    open,
    async close() {
      keeper = await sql.connect();
      await keeper.query(`SELECT pg_advisory_lock(${GATE})`);
    },
    waiting: () =>
      waitFor(async () => {
        const { rowCount } = await sql.query(
          `SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
           WHERE datname = current_database() AND locktype = 'advisory' AND objid = $1 AND NOT granted`,
          [GATE],
        );
        return rowCount;
      }, "somebody at the gate"),
  };
}
const GATE = 4_711;
