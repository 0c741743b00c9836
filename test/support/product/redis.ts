import { openBulkhead } from "../../../src/db/bulkhead.ts";
import type { Db } from "../../../src/db/transaction.ts";
import { createNotices, type Notices } from "../../../src/notices.ts";
import { openRedis, type RedisStore } from "../../../src/redis/redis.ts";
import { waitFor } from "../server.ts";
import { load } from "./config.ts";
import { openDb, silent } from "./database.ts";

interface Test {
  teardown(end: () => unknown): void;
}

/** What one process has open for its caches. */
export interface CachingProcess {
  db: Db;
  redis: RedisStore;
  notices: Notices;
  bulkhead: ReturnType<typeof openBulkhead>;
}

/** Opens what a process needs for its caches, until the test ends. It hears notices when this resolves. */
export async function openCaching(t: Test, databaseUrl: string, service: { url: string; prefix: string }) {
  const { config } = load({
    env: { TINTYPE_REDIS_URL: service.url, TINTYPE_REDIS_KEY_PREFIX: service.prefix },
  });
  const connection = { connectionString: databaseUrl };
  const db = openDb(t, databaseUrl);
  const { notices, listen } = createNotices();
  t.teardown(listen(connection, silent));
  const bulkhead = openBulkhead(connection, { max: 2, log: silent });
  t.teardown(() => bulkhead.close());
  const redis = await openRedis({ config, log: silent, db, notices, role: "serve" });
  if (!redis) throw new Error("no Redis is configured");
  t.teardown(() => redis.close());
  await waitFor(async () => notices.live, "notices to be live");
  return { db, redis, notices, bulkhead } satisfies CachingProcess;
}
