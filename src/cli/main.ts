import { Config, Errors, flush, run } from "@oclif/core";
import { type Explained, explain, printError } from "./explain.ts";

/**
 * Runs the command that `argv` names. @param root the folder of package.json, where oclif finds the command map.
 *
 * Plugins of the user are off: oclif would look for them in TINTYPE_DATA_DIR, which it takes for its own folder, and run
 * whatever lies there.
 */
export async function main(root: string, argv: readonly string[]): Promise<void> {
  try {
    const config = await Config.load({ root, userPlugins: false, devPlugins: false });
    await run([...argv], config);
    await flush();
  } catch (error) {
    // A command that has said all there is to say.
    if (error instanceof Errors.ExitError) process.exit(error.oclif.exit ?? 1);
    // What oclif finds before there is a command: an unknown one, a topic alone.
    const explained: Explained = explain(error);
    printError(explained, argv.includes("--json"));
    process.exit(explained.exit);
  }
}
