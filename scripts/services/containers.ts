import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { runTool } from "../../test/support/services/machine.ts";
import { ACCESS_KEY } from "../../test/support/services/minio.ts";
import type { ServiceName } from "../../test/support/services/service.ts";

const FILE = join(import.meta.dirname, "../../compose/services.yaml");
const COMPOSE = ["compose", "--file", FILE, "--project-name", "tintype-services"];

/** Services that have a container, with the port that each listens on in there and what clients are told, but for the address. */
const CONTAINERS: Partial<Record<ServiceName, { port: number; prefix: string }>> = {
  redis: { port: 6379, prefix: "redis://" },
  minio: { port: 9000, prefix: `http://${ACCESS_KEY}:tintype-secret@` },
  cassandra: { port: 9042, prefix: "" },
  nginx: { port: 80, prefix: "http://" },
};

/** Those of the names that have a container. */
export const inContainers = (names: readonly ServiceName[]): ServiceName[] => names.filter((name) => CONTAINERS[name]);

/** Starts containers and waits until they are well. @returns the URL of each. */
export async function startContainers(
  names: readonly ServiceName[],
): Promise<Array<{ name: ServiceName; url: string }>> {
  await compose("up", "--detach", "--wait", ...names);
  return listContainers(names);
}

/** Those of the names that run. */
export async function listContainers(
  names: readonly ServiceName[],
): Promise<Array<{ name: ServiceName; url: string }>> {
  const running = (await runTool("docker", [...COMPOSE, "ps", "--services", "--status", "running"])).split("\n");
  return Promise.all(
    names.filter((name) => running.includes(name)).map(async (name) => ({ name, url: await containerUrl(name) })),
  );
}

async function containerUrl(name: ServiceName): Promise<string> {
  const { port, prefix } = CONTAINERS[name] ?? { port: 0, prefix: "" };
  const address = await runTool("docker", [...COMPOSE, "port", name, String(port)]);
  return `${prefix}${address.trim()}`;
}

/** Ends containers and removes them with their data. */
export const stopContainers = (names: readonly ServiceName[]): Promise<void> =>
  compose("rm", "--stop", "--force", "--volumes", ...names);

/** Its progress goes to the terminal. */
async function compose(...args: readonly string[]): Promise<void> {
  const child = spawn("docker", [...COMPOSE, ...args], { stdio: ["ignore", "inherit", "inherit"] });
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`docker compose ${args.join(" ")} ended with ${code}`);
}
