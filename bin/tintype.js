#!/usr/bin/env node
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

if (Number(process.versions.node.split(".")[0]) >= 24) {
  const { ensureShell } = await import("../src/config/load.ts");
  ensureShell();
  const { main } = await import("../src/cli/main.ts");
  await main(join(import.meta.dirname, ".."), process.argv.slice(2));
} else {
  runUnderOwnNode();
}

/** An older Node starts the Node 24 that npm installed with the program, and stands for it: signals, exit, death. */
function runUnderOwnNode() {
  const folder = dirname(createRequire(import.meta.url).resolve("node/package.json"));
  const child = spawn(join(folder, "bin", "node"), process.argv.slice(1), {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    // A terminal sends Ctrl-C to both; handing it on would be a second one, which ends a server at once.
    process.on(signal, () => (signal === "SIGINT" && process.stdin.isTTY ? undefined : child.kill(signal)));
  }
  child.on("error", (error) => {
    process.stderr.write(
      `Error: the Node 24 that tintype needs does not start: ${error.message}\n  Run npm ci again, with install scripts allowed.\n`,
    );
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => {
    if (signal) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    } else process.exitCode = code ?? 1;
  });
}
