import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hears, installPackages, programOf } from "./machine.ts";
import type { Service } from "./service.ts";

const find = () => programOf("redis-server", "valkey-server");

/** Redis or Valkey. */
export const redis: Service = {
  name: "redis",
  variable: "TINTYPE_TEST_REDIS_URL",
  endedBy: "KILL",
  find,
  async install() {
    if (await find()) return;
    await installPackages(["redis-server"], "from https://redis.io/docs/latest/operate/oss_and_stack/install/");
  },
  async prepare(program, { folder, port, secret }) {
    const configuration = join(folder, "redis.conf");
    // Written to the file before each answer, so that a killed one loses nothing; that disks lose it is no test's business.
    const settings = [
      "bind 127.0.0.1",
      `port ${port}`,
      `requirepass ${secret}`,
      `dir ${JSON.stringify(folder)}`,
      "daemonize no",
      'save ""',
      "appendonly yes",
      "appendfsync no",
    ];
    await writeFile(configuration, `${settings.join("\n")}\n`, { mode: 0o600 });
    return { program, args: [configuration] };
  },
  answers: ({ port, secret }) =>
    hears(port, `AUTH ${secret}\r\nPING\r\n`, (heard) => heard.toString("latin1").includes("+PONG")),
  url: ({ port, secret }) => `redis://:${secret}@127.0.0.1:${port}`,
};
