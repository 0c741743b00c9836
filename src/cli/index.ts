import type { Command } from "@oclif/core";
import { ConfigError } from "../errors.ts";
import type { Feature } from "../feature.ts";
import { Backup } from "./backup.ts";
import { ConfigCheck, ConfigShow } from "./config.ts";
import { CountersVerify } from "./counters.ts";
import { Doctor } from "./doctor.ts";
import { JobsList, JobsPurge, JobsRetry, JobsStatus } from "./jobs.ts";
import { Migrate } from "./migrate.ts";
import { featuresOf, readConfig, setProgram } from "./program.ts";
import { Restore } from "./restore.ts";
import { Serve } from "./serve.ts";
import { Worker } from "./worker.ts";

/** The commands that belong to no feature. */
const PLATFORM: Record<string, Command.Class> = {
  serve: Serve,
  worker: Worker,
  migrate: Migrate,
  doctor: Doctor,
  backup: Backup,
  restore: Restore,
  "config:show": ConfigShow,
  "config:check": ConfigCheck,
  "counters:verify": CountersVerify,
  "jobs:status": JobsStatus,
  "jobs:list": JobsList,
  "jobs:retry": JobsRetry,
  "jobs:purge": JobsPurge,
};

/** The command map of the program, by oclif id: the platform's commands and those of the features that are on. */
export function createCommands(features: readonly Feature[]): Record<string, Command.Class> {
  setProgram({ features });
  return Object.assign({}, PLATFORM, ...enabled(features).map((feature) => feature.commands ?? {}));
}

/** With a wrong configuration all commands are there, so that the one that runs can say what is wrong. */
function enabled(features: readonly Feature[]): readonly Feature[] {
  try {
    return featuresOf(readConfig({ file: configFileOf(process.argv) }));
  } catch (error) {
    if (error instanceof ConfigError) return features;
    throw error;
  }
}

/** The map is needed before oclif reads the flags, and a configuration file may switch features off. */
function configFileOf(argv: readonly string[]): string | undefined {
  const index = argv.indexOf("--config");
  return index >= 0 ? argv[index + 1] : argv.find((word) => word.startsWith("--config="))?.slice("--config=".length);
}
