import { features } from "../plugins/index.ts";
import { createCommands } from "../src/cli/index.ts";

/** What oclif finds the commands by. */
export const COMMANDS = createCommands(features);
