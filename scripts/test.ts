/**
 * `npm test [-- file or folder … --tap-option …]`: runs the tests against a Postgres, a throw-away one of its own unless
 * TINTYPE_TEST_DATABASE_URL names a server on which databases may be created. Its last line is
 * `N passed, N failed, N skipped`; it exits with 1 if anything failed, or if nothing ran.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { glob } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { styleText } from "node:util";
import { startPostgresServer } from "../test/support/postgres-server.ts";
import { TapReport, type Totals } from "./tap-report.ts";

const ROOT = join(import.meta.dirname, "..");
/** Files at a time. Each has a database of its own, many have processes of the product too. */
const JOBS = 2;
/** Acceptance tests are the slowest: they start first, so that none of them runs on alone at the end. */
const TESTS = ["test/**/*.test.ts", "plugins/**/*.test.ts", "src/**/*.test.ts", "scripts/**/*.test.ts"];

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

/** The test files that are named: files as they are, a folder as the tests below it; none named is all. */
async function testFiles(named: readonly string[]): Promise<string[]> {
  const patterns =
    named.length === 0 ? TESTS : named.map((name) => (/\.ts$/.test(name) ? name : `${name}/**/*.test.ts`));
  return Array.fromAsync(glob(patterns, { cwd: ROOT }));
}

const args = process.argv.slice(2);
const options = args.filter((arg) => arg.startsWith("-"));
const files = await testFiles(args.filter((arg) => !arg.startsWith("-")));
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
