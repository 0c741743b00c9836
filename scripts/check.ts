/**
 * `npm run check`: everything that can be known without running the tests. One line a check, then what it found;
 * exits with 1 if anything was found.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  checkAcceptanceTests,
  checkArrows,
  checkEnvironment,
  checkFeatureCycles,
  checkImportCycles,
  checkPorts,
} from "./checks/arrows.ts";
import { type Callable, checkCommands } from "./checks/commands.ts";
import { type Finding, readSources } from "./checks/project.ts";
import { checkLength, checkSuppressions, checkUnfinished, readTexts, type TextFile } from "./checks/text.ts";
import { GENERATED_DOCS } from "./docs.ts";

const ROOT = join(import.meta.dirname, "..");

/** The output of a tool if it complains, else nothing. Tools come from node_modules/.bin, which npm puts on the PATH. */
function tool(command: string, ...args: string[]): Promise<string[]> {
  return new Promise((resolve) => {
    execFile(command, args, { cwd: ROOT, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      const output = `${stdout}${stderr}`.trim();
      resolve(error ? [output || error.message] : []);
    });
  });
}

const show = ({ file, line, message }: Finding) => `${file}${line === undefined ? "" : `:${line}`}: ${message}`;

async function callable(): Promise<Callable> {
  const manifest: { scripts?: object } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
  const cli = join(ROOT, "bin/commands.js");
  const loaded: { COMMANDS?: Callable["commands"] } = existsSync(cli) ? await import(cli) : {};
  return { scripts: new Set(Object.keys(manifest.scripts ?? {})), commands: loaded.COMMANDS };
}

const isWrittenByHand = ({ path }: TextFile) =>
  /^(?:(?:README|CONTRIBUTING)|docs\/.*)\.md$/.test(path) && !GENERATED_DOCS.has(path);

// The tools run in processes of their own while this one parses; that it then blocks for a moment is no loss.
const [types, lint, docs] = [
  tool("tsc", "-p", "."),
  tool("biome", "check", "--error-on-warnings", "--max-diagnostics=none", "--colors=off"),
  tool("node", "scripts/docs.ts", "--check"),
];
const texts = readTexts(ROOT);
const sources = readSources(ROOT);

type Findings = readonly (Finding | string)[];

const CHECKS: Record<string, Findings | Promise<Findings>> = {
  types,
  "lint and format": lint,
  "import cycles": checkImportCycles(sources),
  "feature cycles": checkFeatureCycles(sources),
  arrows: checkArrows(sources),
  "ports hold types only": checkPorts(sources),
  "acceptance tests stay outside": checkAcceptanceTests(sources),
  "process.env in one place": checkEnvironment(sources),
  "length of files": texts.then((files) => checkLength(files, GENERATED_DOCS)),
  "unfinished work": texts.then(checkUnfinished),
  "silenced checks": texts.then(checkSuppressions),
  "commands in documents": texts.then(async (files) => checkCommands(files.filter(isWrittenByHand), await callable())),
  "generated docs": docs,
};

let failed = 0;
for (const [name, running] of Object.entries(CHECKS)) {
  const findings = await running;
  process.stdout.write(`${findings.length === 0 ? "ok  " : "FAIL"} ${name}\n`);
  for (const finding of findings) process.stdout.write(`${typeof finding === "string" ? finding : show(finding)}\n`);
  if (findings.length > 0) failed += 1;
}
if (failed > 0) {
  process.stdout.write(`${failed} of ${Object.keys(CHECKS).length} checks failed\n`);
  process.exitCode = 1;
}
