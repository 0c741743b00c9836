import { readdir, utimes } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import type { Test } from "tap";
import { brake, objectsOf, tintype } from "./backup.ts";
import type { SignedIn } from "./client.ts";
import { picture } from "./pictures.ts";
import { type Started, start, waitFor } from "./server.ts";
import { processed, type Service, startService } from "./service.ts";

/** Where a worker is stopped: at the lock that its next statement waits for. */
export interface Step {
  at: string;
  table: string;
  /** Unless it is told, reads wait too. */
  mode?: string;
}

/** A service whose workers are killed, and what must be so when one has lived to the end. */
export interface Killing extends Service {
  sql: pg.Pool;
  photo: Buffer;
  startWorker(t: Test): Started;
  /** Lets a worker, or what `begin` starts, come as far as the step, and kills it there. */
  killAt(t: Test, step: Step, begin?: (t: Test) => Started): Promise<void>;
  /** Makes the jobs of killed workers be taken at once: that one is missed after a while is tested elsewhere. */
  missed(): Promise<unknown>;
  /** Publishes so many posts of two pictures each. */
  publishAll(t: Test, author: SignedIn, count: number): Promise<string[]>;
  /** Finishes what is left with a worker that lives, and compares the listing of the store with the rows. */
  assertNothingLeft(t: Test): Promise<void>;
  keys(): Promise<string[]>;
}

/** Has one post of somebody who stays. */
export async function startKilling(t: Test): Promise<Killing> {
  const service = await startService(t, { TINTYPE_WORKER_EMBEDDED: "false" });
  const { client, dataDir, databaseUrl, env } = service;
  const sql = new pg.Pool({ connectionString: databaseUrl, max: 4 });
  t.teardown(() => sql.end());
  const photo = await picture({ width: 300, height: 200 });
  const staging = join(dataDir, "staging");
  const keys = async () => Object.keys(await objectsOf(dataDir)).sort();

  const startWorker = (t: Test) => {
    const worker = start(["worker"], { ...env, TINTYPE_WORKER_CONCURRENCY: "1" });
    t.teardown(() => worker.kill());
    return worker;
  };
  const missed = () =>
    sql.query("UPDATE pgboss.job SET state = 'retry', start_after = now(), heartbeat_on = NULL WHERE state = 'active'");
  const idle = () =>
    waitFor(async () => {
      const { rowCount } = await sql.query(
        "SELECT FROM pgboss.job WHERE (name LIKE 'media.%' OR name LIKE 'accounts.%' OR name LIKE 'stories.%') AND name NOT LIKE '%sweep%' AND state < 'completed'",
      );
      return rowCount === 0;
    }, "all jobs to be done");
  /** What the rows say that there should be: as keys, in a telling of the test's own. */
  const expectedKeys = async () => {
    const { rows } = await sql.query(`
      SELECT 'originals/' || right(id::text, 2) || '/' || id AS key FROM media WHERE original_dropped_at IS NULL
      UNION ALL
      SELECT 'renditions/' || right(medium_id::text, 2) || '/' || medium_id || '/' ||
        CASE version WHEN '' THEN '' ELSE version || '/' END || name || '.webp' FROM renditions`);
    return rows.map(({ key }) => String(key)).sort();
  };

  const killing: Killing = {
    ...service,
    sql,
    photo,
    startWorker,
    missed,
    keys,
    async killAt(t, { at, table, mode }, begin = startWorker) {
      const held = await brake(t, databaseUrl, table, mode);
      const victim = begin(t);
      await waitFor(() => held.waiting(), `a process that waits ${at}`);
      await victim.kill();
      await held.release();
      await missed();
      t.pass(`killed ${at}`);
    },
    async publishAll(t, author, count) {
      const worker = startWorker(t);
      const posts = await Promise.all(Array.from({ length: count }, () => author.post([photo, photo])));
      for (const post of posts) await processed(author, post);
      await worker.stop();
      return posts;
    },
    async assertNothingLeft(t) {
      const worker = startWorker(t);
      await idle();
      await waitFor(async () => {
        for (const name of await readdir(staging)) await utimes(join(staging, name), new Date(0), new Date(0));
        await sql.query("INSERT INTO pgboss.job (name, data) VALUES ('media.sweep', '{}')");
        return (await readdir(staging)).length === 0;
      }, "staging to be empty");
      t.same(await keys(), await expectedKeys());
      t.equal((await sql.query("SELECT FROM media WHERE state = 'removed'")).rowCount, 0);
      await worker.stop();
      t.equal((await tintype(["media", "verify", "--older-than", "0s"], env)).ok, true);
    },
  };
  await killing.publishAll(t, await client.register("bystander"), 1);
  return killing;
}
