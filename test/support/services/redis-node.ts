import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../ports.ts";
import { redis } from "./redis.ts";
import type { Service } from "./service.ts";

/** Milliseconds that a node may be silent before it counts as failed, and its replica takes over. */
const NODE_TIMEOUT = 1_000;

/**
 * A node of a Redis Cluster. It keeps nothing on disk but what it knows of the others.
 * @param secret the password of all of them: they sign in to each other with it.
 */
export function redisNode(secret: string): Service {
  const withSecret = <T extends { secret: string }>(place: T): T => ({ ...place, secret });
  return {
    ...redis,
    async prepare(program, { folder, port }) {
      const configuration = join(folder, "redis.conf");
      const settings = [
        "bind 127.0.0.1",
        `port ${port}`,
        // The usual port + 10,000 may be taken, or be none.
        `cluster-port ${await freePort()}`,
        "cluster-announce-ip 127.0.0.1",
        "cluster-enabled yes",
        `cluster-node-timeout ${NODE_TIMEOUT}`,
        // However long a replica has not heard of its master: there is no other.
        "cluster-replica-validity-factor 0",
        "repl-diskless-sync-delay 0",
        `requirepass ${secret}`,
        `masterauth ${secret}`,
        `dir ${JSON.stringify(folder)}`,
        "daemonize no",
        'save ""',
      ];
      await writeFile(configuration, `${settings.join("\n")}\n`, { mode: 0o600 });
      return { program, args: [configuration] };
    },
    answers: (place) => redis.answers(withSecret(place)),
    url: (place) => redis.url(withSecret(place)),
  };
}
