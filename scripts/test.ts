/**
 * `npm test [-- file or folder … --tap-option …]`, and `npm run test:full`, which leaves none out: runs the tests against a Postgres, a throw-away one of its own unless
 * TINTYPE_TEST_DATABASE_URL names a server on which databases may be created. Its last line is
 * `N passed, N failed, N skipped`; it exits with 1 if anything failed, or if nothing ran.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { styleText } from "node:util";
import { startPostgresServer } from "../test/support/postgres-server.ts";
import { TapReport, type Totals } from "./tap-report.ts";
import { testFiles } from "./test-files.ts";

const ROOT = join(import.meta.dirname, "..");
/** Files at a time. Each has a database of its own, many have processes of the product too. */
const JOBS = 2;

const COLOURS = { ok: "green", FAIL: "red", failed: "red", skip: "yellow" } as const;

function print(line: string): void {
  const status = /^(ok|FAIL|failed|skip)\b/.exec(line)?.[0] as keyof typeof COLOURS | undefined;
  const plain = status === undefined || process.env.CI !== undefined;
  process.stdout.write(`${plain ? line : styleText(COLOURS[status], line)}\n`);
}

/**
 * Runs tap and reports as it goes. A signal that this process gets is handed on to tap and all that it started, in a
 * process group of their own: tap alone would wait for the tests that run.
 */
async function runTap(args: readonly string[], databaseUrl: string): Promise<{ totals: Totals; code: number }> {
  const tap = spawn("tap", ["run", `--jobs=${JOBS}`, "--no-color", "--reporter=tap", ...args], {
    cwd: ROOT,
    detached: true,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, TINTYPE_TEST_DATABASE_URL: databaseUrl },
  });
  const ended = once(tap, "close");
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (tap.pid !== undefined && tap.exitCode === null) process.kill(-tap.pid, signal);
    });
  }
  const report = new TapReport();
  for await (const line of createInterface(tap.stdout)) {
    const said = report.read(line);
    if (said !== undefined) print(said);
  }
  const [code, signal] = await ended;
  if (report.totals) return { totals: report.totals, code: code ?? 1 };
  print(`tap did not get to its end: ${signal ?? `exit code ${code}`}`);
  return { totals: { passed: 0, failed: 1, skipped: 0 }, code: code || 1 };
}

const args = process.argv.slice(2);
const options = args.filter((arg) => arg.startsWith("-") && arg !== "--full");
const named = args.filter((arg) => !arg.startsWith("-"));
const files = await testFiles(ROOT, named, args.includes("--full"));
if (files.length === 0) {
  print(`FAIL no test file is named ${args.join(" ")}`);
  print("0 passed, 1 failed, 0 skipped");
  process.exit(1);
}

const ownUrl = process.env.TINTYPE_TEST_DATABASE_URL;
const server = ownUrl ? undefined : await startPostgresServer();
try {
  const { totals, code } = await runTap([...options, ...files], ownUrl ?? server?.url ?? "");
  const ran = totals.passed + totals.failed > 0;
  if (!ran) print("no test ran");
  process.exitCode = code === 0 && (!ran || totals.failed > 0) ? 1 : code;
  print(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
} finally {
  await server?.stop();
}
