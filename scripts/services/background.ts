import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { cacheFolder } from "../../test/support/services/cache.ts";
import { identityOf } from "../../test/support/services/machine.ts";
import { type Place, SERVICES, type Service, type ServiceName } from "../../test/support/services/service.ts";
import { environmentAt, newPlace, untilReady } from "../../test/support/services/start.ts";

/** A service that outlives the command that started it, as every terminal of this user finds it. */
export interface Running {
  readonly name: ServiceName;
  readonly pid: number;
  /** A process with the same pid and another identity is somebody else's. */
  readonly identity: string;
  readonly url: string;
  readonly place: Place;
}

const stateFolder = () => join(cacheFolder(), "running");
const stateFile = ({ place }: Running) => join(stateFolder(), `${basename(place.folder)}.json`);

/** Starts one in the background and waits until it takes clients. @param program what the service's `find` gave. */
export async function startInBackground(service: Service, program: string): Promise<Running> {
  const place = await newPlace(service);
  try {
    const launch = await service.prepare(program, place);
    const log = await open(join(place.folder, "log"), "a");
    const child = spawn(launch.program, launch.args, {
      cwd: "/",
      detached: true,
      stdio: ["ignore", log.fd, log.fd],
      env: { ...environmentAt(place), ...launch.env },
    });
    await once(child, "spawn");
    await log.close();
    child.unref();
    const pid = child.pid ?? 0;
    const identity = (await identityOf(pid)) ?? "ended at once";
    const running: Running = { name: service.name, pid, identity, url: service.url(place), place };
    await save(running);
    try {
      await untilReady(service, place, pid);
    } catch (error) {
      await stopInBackground(running);
      throw error;
    }
    return running;
  } catch (error) {
    await rm(place.folder, { recursive: true, force: true });
    throw error;
  }
}

async function save(running: Running): Promise<void> {
  await mkdir(stateFolder(), { recursive: true, mode: 0o700 });
  const file = stateFile(running);
  await writeFile(`${file}.new`, JSON.stringify(running), { mode: 0o600 });
  await rename(`${file}.new`, file);
}

/** Those that run, in the order of their names. Whatever ended by itself is cleared away. */
export async function listRunning(): Promise<Running[]> {
  const running: Running[] = [];
  for (const file of await readdir(stateFolder()).catch(() => [])) {
    if (!file.endsWith(".json")) continue;
    const saved = await readFile(join(stateFolder(), file), "utf8").catch(() => undefined);
    if (saved === undefined) continue;
    const found: Running = JSON.parse(saved);
    if (await isAlive(found)) running.push(found);
    else await clear(found);
  }
  return running.sort((a, b) => SERVICES.indexOf(a.name) - SERVICES.indexOf(b.name));
}

const isAlive = async ({ pid, identity }: Running) => (await identityOf(pid)) === identity;

async function clear(running: Running): Promise<void> {
  await rm(running.place.folder, { recursive: true, force: true });
  await rm(stateFile(running), { force: true });
}

/** How long one may take to end by itself. */
const GRACE_MS = 10_000;

/** Ends one, by force if it must be, and removes its data. Never ends a process that took its pid after it. */
export async function stopInBackground(running: Running): Promise<void> {
  const forced = Date.now() + GRACE_MS;
  let signal: NodeJS.Signals | undefined = "SIGTERM";
  while (await isAlive(running)) {
    if (signal) process.kill(running.pid, signal);
    signal = Date.now() > forced ? "SIGKILL" : undefined;
    await delay(25);
  }
  await clear(running);
}
