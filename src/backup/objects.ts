import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Config } from "../config/schema.ts";
import type { MediaStore } from "../ports/media.ts";
import { inStaging, openStaging } from "../staging.ts";

/** Each waits for the disk or the network to have it durable, while the next is read. */
const AT_ONCE = 8;

/** Puts objects into the store, several at a time. `finish` waits for all; the first that fails fails the next call. */
export function putObjects(
  media: MediaStore,
  config: Pick<Config, "data_dir">,
): {
  readonly count: number;
  put(key: string, content: AsyncIterable<Buffer>): Promise<void>;
  finish(): Promise<void>;
} {
  const running = new Set<Promise<void>>();
  let failure: { error: unknown } | undefined;
  let count = 0;
  const assertNone = () => {
    if (failure) throw failure.error;
  };
  const putStaged = async (key: string, path: string) => {
    try {
      await media.putFile(key, path);
      count += 1;
    } catch (error) {
      failure ??= { error };
    } finally {
      await rm(path, { force: true });
    }
  };

  return {
    get count() {
      return count;
    },
    async put(key, content) {
      if (running.size === AT_ONCE) await Promise.race(running);
      assertNone();
      const path = join(await openStaging(config), `restore-${randomUUID()}`);
      try {
        await inStaging(() => pipeline(content, createWriteStream(path, { mode: 0o600, flags: "wx" })));
      } catch (error) {
        await rm(path, { force: true });
        throw error;
      }
      const putting: Promise<void> = putStaged(key, path).finally(() => running.delete(putting));
      running.add(putting);
    },
    async finish() {
      await Promise.all(running);
      assertNone();
    },
  };
}
