import type { Logger } from "pino";
import { type LoadedConfig, startedByNpx } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import type { Role } from "../db/database.ts";
import { type Deps, openDeps } from "../deps.ts";
import { type Feature, jobsOf } from "../feature.ts";
import { type Phase, shutDown, stopWithParent, untilStopped } from "../lifecycle.ts";
import { createLogger } from "../log.ts";
import { collectProcessMetrics } from "../metrics.ts";
import { keepStagingSwept } from "../staging.ts";

/** Milliseconds that are kept for giving jobs back, and for closing the database and the embedded Postgres. */
const RESERVED = { jobs: 2_000, closing: 5_000 };

export interface Features {
  /** Those that are on. */
  features: readonly Feature[];
  allFeatures: readonly Feature[];
}

export interface Running extends Deps {
  /** A copy of this process' own, which may be completed once a port is known. */
  config: Config;
  log: Logger;
  /** Adds a phase to the shutdown, before all that were added so far. */
  onStop(phase: Phase): void;
}

/**
 * A process that runs until it is told to stop: opens what the configuration names, lets `begin` start its work, waits
 * for a signal, and closes in reverse order.
 * @returns the exit code: 1 when something could not be closed in time, or the embedded Postgres was lost.
 */
export async function runProcess(
  loaded: LoadedConfig,
  role: Role,
  { features, allFeatures }: Features,
  begin: (running: Running) => Promise<void>,
): Promise<number> {
  const config = { ...loaded.config };
  const log = createLogger(config.log);
  const { stopped, stop } = untilStopped(log);
  if (startedByNpx()) stopWithParent(stop);
  // An older Node that stands for this process (bin/tintype.js) was killed.
  if (process.connected) process.once("disconnect", () => stop("the process that started this one has ended"));
  let lost = false;
  const onLost = (error: Error) => {
    lost = true;
    log.fatal({ err: error }, "the embedded Postgres is gone");
    stop("the embedded Postgres is gone");
  };
  collectProcessMetrics();
  const deps = await openDeps({ config, log, role, features, allFeatures, onLost });
  const stopSweeping = keepStagingSwept(config, log);
  const close = async () => {
    stopSweeping();
    await deps.close();
  };
  const phases: Phase[] = [
    { name: "close dependencies", timeout: RESERVED.closing, reserved: RESERVED.closing, run: close },
  ];
  try {
    await begin({ ...deps, config, log, onStop: (phase) => phases.unshift(phase) });
    log.info({ reason: await stopped }, "stopping");
  } catch (error) {
    await shutDown(phases, log, config.shutdown.timeout);
    throw error;
  }
  const clean = await shutDown(phases, log, config.shutdown.timeout);
  return clean && !lost ? 0 : 1;
}

/** Takes jobs of the features that are on, until the process is stopped. */
export async function takeJobs(
  { context, config, onStop }: Running,
  { features, allFeatures }: Features,
): Promise<void> {
  const stopWork = await context.queue.work(jobsOf(features), context, jobsOf(allFeatures));
  onStop({
    name: "finish jobs",
    timeout: config.shutdown.timeout,
    reserved: RESERVED.jobs,
    // The queue's own deadline comes first, so that it can give jobs back before the phase is left behind.
    run: (timeout) => stopWork(timeout - RESERVED.jobs / 2),
  });
}
