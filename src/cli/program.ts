import { type LoadedConfig, loadConfig } from "../config/load.ts";
import { enabledFeatures, type Feature } from "../feature.ts";

/** What the executable hands to the commands: every feature of the program. */
export interface Program {
  readonly features: readonly Feature[];
}

let program: Program | undefined;

/** Said once, by the composition root, before any command runs. */
export function setProgram(given: Program): void {
  program = given;
}

/** Every feature of the program, also those that are off. */
export function allFeatures(): readonly Feature[] {
  if (!program) throw new Error("the composition root has not said what the program is made of");
  return program.features;
}

/** The configuration of this process. @throws ConfigError with every mistake in it. */
export function readConfig(
  options: { flags?: Record<string, string | undefined>; file?: string | undefined } = {},
): LoadedConfig {
  const features = allFeatures();
  return loadConfig({
    ...(options.flags ? { flags: options.flags } : {}),
    ...(options.file === undefined ? {} : { configFile: options.file }),
    features: {
      known: features.map((feature) => feature.name),
      core: features.filter((feature) => feature.core).map((feature) => feature.name),
    },
  });
}

/** The features that the configuration switches on. */
export function featuresOf({ config }: LoadedConfig): Feature[] {
  return enabledFeatures(allFeatures(), config.features);
}
