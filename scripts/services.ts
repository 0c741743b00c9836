/**
 * `npm run services -- install|start|stop|status [redis minio versitygw cassandra nginx] [--containers]`: the services that
 * tests use, real ones. Without a name it means all of them. What is downloaded and built lies in the cache of this user;
 * what is started runs in the background, on free ports of 127.0.0.1 and with data in temporary folders, until it is stopped.
 * Exits with 1 if something could not be done, 2 if it was asked wrongly.
 */
import { parseArgs } from "node:util";
import { CATALOGUE } from "../test/support/services/catalogue.ts";
import { SERVICES, type ServiceName } from "../test/support/services/service.ts";
import { listRunning, startInBackground, stopInBackground } from "./services/background.ts";
import { inContainers, listContainers, startContainers, stopContainers } from "./services/containers.ts";

const say = (line: string) => process.stdout.write(`${line}\n`);

/** A line of a shell that makes the tests use it. */
function sayHow({ name, url }: { name: ServiceName; url: string }): void {
  const { variable } = CATALOGUE[name];
  say(variable ? `export ${variable}=${url}` : `# ${name}: ${url}`);
}

const seconds = (since: number) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

async function install(name: ServiceName): Promise<void> {
  const began = performance.now();
  const service = CATALOGUE[name];
  const there = await service.find();
  if (!there) {
    say(`${name}: installing`);
    await service.install();
  }
  say(`${name}: ${there ?? (await service.find())}${there ? "" : ` (${seconds(began)})`}`);
}

async function start(name: ServiceName): Promise<void> {
  const began = performance.now();
  const running = (await listRunning()).find((one) => one.name === name);
  if (running) {
    say(`# ${name} runs already`);
    sayHow(running);
    return;
  }
  const program = await CATALOGUE[name].find();
  if (!program) throw new Error(`is not installed: npm run services -- install ${name}`);
  const started = await startInBackground(CATALOGUE[name], program);
  say(`# ${name} started in ${seconds(began)}, pid ${started.pid}, log ${started.place.folder}/log`);
  sayHow(started);
}

async function stop(name: ServiceName): Promise<void> {
  const running = (await listRunning()).filter((one) => one.name === name);
  for (const one of running) await stopInBackground(one);
  say(`${name}: ${running.length > 0 ? "stopped" : "does not run"}`);
}

async function status(name: ServiceName): Promise<void> {
  const running = (await listRunning()).filter((one) => one.name === name);
  const installed = (await CATALOGUE[name].find()) ?? "not installed";
  if (running.length === 0) say(`# ${name}: ${installed}; does not run`);
  for (const one of running) {
    say(`# ${name}: ${installed}; pid ${one.pid}, log ${one.place.folder}/log`);
    sayHow(one);
  }
}

const COMMANDS: Readonly<Record<string, (name: ServiceName) => Promise<void>>> = { install, start, stop, status };

const IN_CONTAINERS: Readonly<Record<string, (names: readonly ServiceName[]) => Promise<void>>> = {
  start: async (names) => (await startContainers(names)).forEach(sayHow),
  stop: stopContainers,
  status: async (names) => (await listContainers(names)).forEach(sayHow),
};

const isService = (name: string): name is ServiceName => SERVICES.some((service) => service === name);

/** @returns the exit code. */
async function main(): Promise<number> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { containers: { type: "boolean", default: false } },
  });
  const [verb = "", ...named] = positionals;
  const names = named.length > 0 ? named.filter(isService) : [...SERVICES];
  const [command, onContainers] = [COMMANDS[verb], IN_CONTAINERS[verb]];
  if (!command || names.length < named.length || (values.containers && !onContainers)) {
    say(`npm run services -- ${Object.keys(COMMANDS).join("|")} [${SERVICES.join(" ")}]`);
    say(
      `npm run services -- ${Object.keys(IN_CONTAINERS).join("|")} --containers [${inContainers(SERVICES).join(" ")}]`,
    );
    return 2;
  }
  if (values.containers && onContainers) {
    await onContainers(inContainers(names));
    return 0;
  }
  let failed = 0;
  for (const name of names) {
    try {
      await command(name);
    } catch (error) {
      failed = 1;
      say(`# ${name}: ${error instanceof Error ? error.message : error}`);
    }
  }
  return failed;
}

process.exitCode = await main();
