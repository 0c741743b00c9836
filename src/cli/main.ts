import { Config, Errors, flush, run } from "@oclif/core";
import { type Explained, explain, printError } from "./explain.ts";

/**
 * Runs the command that `argv` names. @param root the folder of package.json, where oclif finds the command map.
 *
 * Plugins of the user are off: oclif would look for them in TINTYPE_DATA_DIR, which it takes for its own folder, and run
 * whatever lies there.
 */
export async function main(root: string, argv: readonly string[]): Promise<void> {
  // A reader that has seen enough (`| head`) closes the pipe; oclif would wait for it to drain.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
  });
  try {
    const config = await Config.load({ root, userPlugins: false, devPlugins: false });
    await run([...argv], config);
    await flush();
  } catch (error) {
    // A command that has said all there is to say.
    if (error instanceof Errors.ExitError) process.exit(error.oclif.exit ?? 1);
    // What oclif finds before there is a command: an unknown one, a topic alone.
    const explained = explainUnknownCommand(explain(error));
    printError(explained, argv.includes("--json"));
    process.exit(explained.exit);
  }
}

/** oclif names commands by its own ids, `jobs:list`; nobody typed a colon. */
function explainUnknownCommand(explained: Explained): Explained {
  const name = /^command (\S+) not found$/.exec(explained.message)?.[1];
  if (name === undefined) return explained;
  const message = `there is no command ${name.replaceAll(":", " ")}`;
  return { ...explained, message, hint: "`tintype --help` lists the commands." };
}
