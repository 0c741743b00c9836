import { randomBytes } from "node:crypto";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../ports.ts";
import { identityOf } from "./machine.ts";
import type { Place, Service } from "./service.ts";

/** A place for one instance. */
export async function newPlace({ name }: Service): Promise<Place> {
  return {
    folder: await mkdtemp(join(tmpdir(), `tintype-test-${name}-`)),
    port: await freePort(),
    secret: randomBytes(16).toString("hex"),
  };
}

/** Nothing of the surroundings but what a program needs; what it wants to keep at home goes to its folder. */
export const environmentAt = ({ folder }: Place): Record<string, string> => ({
  PATH: process.env.PATH ?? "",
  HOME: folder,
  TMPDIR: folder,
  LC_ALL: "C",
  TZ: "UTC",
});

/** What it printed. */
export const logOf = ({ folder }: Place): Promise<string> => readFile(join(folder, "log"), "utf8");

/** Far more than any of them takes on a busy machine. */
const PATIENCE_MS = 180_000;

/** Waits until a service takes clients. @throws with what it printed, if its process ends or time runs out. */
export async function untilReady(service: Service, place: Place, pid: number): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    if (await service.answers(place).catch(() => false)) return;
    const ended = (await identityOf(pid)) === undefined;
    if (ended || Date.now() > end) {
      const how = ended ? "ended" : `was not ready after ${PATIENCE_MS / 1000} s`;
      throw new Error(`${service.name} ${how}:\n${(await logOf(place)).slice(-4_000)}`);
    }
    await delay(25);
  }
}
