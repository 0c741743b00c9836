import { features } from "../../../plugins/index.ts";
import type { Context } from "../../../src/context.ts";
import { openDeps } from "../../../src/deps.ts";
import { temporaryFolder, waitFor } from "../server.ts";
import { load } from "./config.ts";
import { silent } from "./database.ts";

interface Test {
  teardown(end: () => unknown): void;
}

/** All that a server has open until the test ends, with every feature but those named. It hears notices when this resolves. */
export async function openContext(
  t: Test,
  databaseUrl: string,
  redis: { url: string; prefix: string } | null,
  { without = [] }: { without?: readonly string[] } = {},
): Promise<Context> {
  const { config } = load({
    env: {
      TINTYPE_DATABASE_URL: databaseUrl,
      TINTYPE_DATA_DIR: await temporaryFolder(t),
      ...(redis === null ? {} : { TINTYPE_REDIS_URL: redis.url, TINTYPE_REDIS_KEY_PREFIX: redis.prefix }),
    },
    features: { known: features.map(({ name }) => name), core: [] },
  });
  const enabled = features.filter(({ name }) => !without.includes(name));
  const deps = await openDeps({ config, log: silent, role: "serve", features: enabled, allFeatures: features });
  t.teardown(() => deps.close());
  await waitFor(async () => deps.context.notices.live, "notices to be live");
  return deps.context;
}
