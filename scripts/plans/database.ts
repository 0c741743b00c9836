import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { startPostgresServer } from "../../test/support/postgres-server.ts";
import { run } from "../../test/support/server.ts";

/** Runs `work` on a throw-away Postgres of its own, migrated and empty; `version` is the server's. */
export async function withPlansDatabase(work: (pool: pg.Pool, version: string) => Promise<void>): Promise<void> {
  const server = await startPostgresServer();
  try {
    await migrate(server.url);
    // One connection: what is measured does not share the machine with itself.
    const pool = new pg.Pool({ connectionString: server.url, max: 1 });
    try {
      const { rows } = await pool.query<{ version: string }>("SELECT current_setting('server_version') AS version");
      await work(pool, rows[0]?.version ?? "");
    } finally {
      await pool.end();
    }
  } finally {
    await server.stop();
  }
}

async function migrate(url: string): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), "tintype-plans-"));
  try {
    const { code, stderr } = await run(["migrate"], { TINTYPE_DATABASE_URL: url, TINTYPE_DATA_DIR: dataDir });
    if (code !== 0) throw new Error(`tintype migrate ended with ${code}:\n${stderr}`);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}
