import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import t, { type Test } from "tap";
import {
  checkAcceptanceTests,
  checkArrows,
  checkEnvironment,
  checkFeatureCycles,
  checkImportCycles,
  checkPorts,
} from "./arrows.ts";
import { checkCommands } from "./commands.ts";
import { type Finding, readSources } from "./project.ts";
import { checkLength, checkSuppressions, checkUnfinished, readTexts } from "./text.ts";

type Files = Readonly<Record<string, string>>;

const TSCONFIG = JSON.stringify({
  compilerOptions: {
    module: "nodenext",
    allowImportingTsExtensions: true,
    allowJs: true,
    noEmit: true,
    noLib: true,
    types: [],
  },
  include: ["bin", "src", "plugins", "scripts", "test"],
});

/** A small product that breaks no rule. */
const CLEAN: Files = {
  "bin/tintype.js": 'import "./commands.ts";',
  "bin/commands.js": 'import { FEATURES } from "../plugins/index.ts";\nexport const COMMANDS = FEATURES;',
  "plugins/index.ts": 'import { posts } from "./posts/plugin.ts";\nexport const FEATURES = [posts];',
  "plugins/posts/plugin.ts": 'import { graph } from "../graph/index.ts";\nexport const posts = graph;',
  "plugins/posts/posts.test.ts": 'import "./plugin.ts";\nimport "../index.ts";\nimport "../../test/support/http.ts";',
  "plugins/graph/index.ts": 'import { load } from "../../src/config/load.ts";\nexport const graph = load;',
  "src/config/load.ts": "export const load = () => process.env;",
  "src/config/load.test.ts": "process.env.TINTYPE_PORT = '1';",
  "src/ports/media.ts":
    'import type { A } from "./a.ts";\nexport type { A };\nexport interface Media { a: A }\nexport type B = A;',
  "src/ports/a.ts": "export interface A { n: number }",
  "test/acceptance/main.test.ts": 'import "../support/http.ts";\nimport "node:fs";\nimport "pg";',
  "test/support/http.ts": 'import "./port.ts";\nexport const url = process.env.URL;',
  "test/support/port.ts": "export {};",
  "test/support/product/app.ts": 'import "../../../src/config/load.ts";',
};

async function write(test: Test, files: Files): Promise<string> {
  const root = test.testdir({});
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  }
  return root;
}

const SOURCE_CHECKS = {
  checkAcceptanceTests,
  checkArrows,
  checkEnvironment,
  checkFeatureCycles,
  checkImportCycles,
  checkPorts,
};

/** What each check finds, as `file:line`; checks that find nothing are left out. */
async function findingsIn(test: Test, files: Files): Promise<Record<string, string[]>> {
  const sources = readSources(await write(test, { "tsconfig.json": TSCONFIG, ...files }));
  const found = Object.entries(SOURCE_CHECKS).map(([name, check]) => [name, check(sources).map(place)] as const);
  return Object.fromEntries(found.filter(([, places]) => places.length > 0));
}

const place = ({ file, line }: Finding) => (line === undefined ? file : `${file}:${line}`);

t.test("a clean tree passes", async (t) => {
  t.same(await findingsIn(t, CLEAN), {});
});

const VIOLATIONS: Record<string, { files: Files; found: Record<string, string[]> }> = {
  "src imports a feature": {
    files: { "src/app.ts": '\nimport "../plugins/graph/index.ts";' },
    found: { checkArrows: ["src/app.ts:2"] },
  },
  "src imports the executable, by a type": {
    files: { "src/app.ts": 'export type C = typeof import("../bin/commands.js");' },
    found: { checkArrows: ["src/app.ts:1"] },
  },
  "a feature imports the executable": {
    files: { "plugins/graph/rules.ts": 'import "../../bin/commands.js";' },
    found: { checkArrows: ["plugins/graph/rules.ts:1"] },
  },
  "a feature reaches into another": {
    files: {
      "plugins/posts/store.ts":
        'import type { S } from "../graph/store.ts";\nexport const x = await import("../graph/store.ts");\nexport type T = S;',
      "plugins/graph/store.ts": "export interface S { a: 1 }",
    },
    found: { checkArrows: ["plugins/posts/store.ts:1", "plugins/posts/store.ts:2"] },
  },
  "a feature imports the list of features": {
    files: { "plugins/graph/rules.ts": 'export * from "../index.ts";' },
    found: { checkArrows: ["plugins/graph/rules.ts:1"] },
  },
  "the product imports tests and scripts": {
    files: { "src/app.ts": 'import "../test/support/http.ts";\nimport "../scripts/x.ts";', "scripts/x.ts": "" },
    found: { checkArrows: ["src/app.ts:1", "src/app.ts:2"] },
  },
  "a test imports a test": {
    files: { "src/app.test.ts": 'import "./config/load.test.ts";' },
    found: { checkArrows: ["src/app.test.ts:1"] },
  },
  "three files import each other": {
    files: { "src/a.ts": 'import "./b.ts";', "src/b.ts": 'export * from "./c.ts";', "src/c.ts": 'import "./a.ts";' },
    found: { checkImportCycles: ["src/a.ts"] },
  },
  "two features need each other, without a cycle of files": {
    files: {
      "plugins/graph/rules.ts": 'import "../posts/index.ts";',
      "plugins/posts/index.ts": "export {};",
    },
    found: { checkFeatureCycles: ["plugins/graph"] },
  },
  "a port has code": {
    files: { "src/ports/media.ts": "export interface Media { a: 1 }\n\nexport const media = 1;" },
    found: { checkPorts: ["src/ports/media.ts:3"] },
  },
  "a port imports values": {
    files: { "src/ports/media.ts": 'import { type A } from "./a.ts";\nexport type B = A;' },
    found: { checkPorts: ["src/ports/media.ts:1"] },
  },
  "an acceptance test imports the product": {
    files: { "test/acceptance/x.test.ts": 'import "node:fs";\nimport "../../src/config/load.ts";' },
    found: { checkAcceptanceTests: ["test/acceptance/x.test.ts:2"] },
  },
  "an acceptance test imports the product over a helper": {
    files: { "test/support/port.ts": 'import "../../src/config/load.ts";' },
    found: { checkAcceptanceTests: ["test/acceptance/main.test.ts:1"] },
  },
  "an acceptance test imports a helper of unit tests": {
    files: { "test/acceptance/x.test.ts": 'import "../support/product/app.ts";' },
    found: { checkAcceptanceTests: ["test/acceptance/x.test.ts:1", "test/acceptance/x.test.ts:1"] },
  },
  "an acceptance test imports the product by its name": {
    files: { "test/acceptance/x.test.ts": 'import "tintype";' },
    found: { checkAcceptanceTests: ["test/acceptance/x.test.ts:1"] },
  },
  "process.env is read elsewhere, in every spelling": {
    files: {
      "src/log.ts": [
        'import { env as e } from "node:process";',
        "// process.env in a comment, and in a string:",
        'export const a = ["process.env", e];',
        "export const b = process.env.LEVEL;",
        "export const c = process['env'].LEVEL;",
        "const { env } = process;",
        "export const d = globalThis.process.env === env;",
      ].join("\n"),
    },
    found: { checkEnvironment: [1, 4, 5, 6, 7].map((line) => `src/log.ts:${line}`) },
  },
};

for (const [name, { files, found }] of Object.entries(VIOLATIONS)) {
  t.test(name, async (t) => {
    t.same(await findingsIn(t, { ...CLEAN, ...files }), found);
  });
}

t.test("a cycle is told as the way along it, and a knot once", async (t) => {
  const files = {
    "src/a.ts": 'import "./b.ts";',
    "src/b.ts": 'import "./a.ts"; import "./c.ts";',
    "src/c.ts": 'import "./b.ts";',
  };
  const sources = readSources(await write(t, { "tsconfig.json": TSCONFIG, ...files }));
  t.same(checkImportCycles(sources), [{ file: "src/a.ts", message: "import cycle: src/a.ts → src/b.ts → src/a.ts" }]);
});

t.test("texts", async (t) => {
  // In halves, so that the checks do not find them here.
  const unfinished = `// ${"TO"}${"DO"}: the rest`;
  const silenced = `// ${"@ts-"}${"expect-error"} it works`;
  const root = await write(t, {
    "README.md": "# Tintype\n",
    "CHANGELOG.md": "\n".repeat(500),
    "docs/api.md": "\n".repeat(500),
    "docs/long.md": "\n".repeat(401),
    "docs/picture.png": `\0${unfinished}`,
    "migrations/postgres/0001_a.sql": "SELECT 1;\n".repeat(400),
    "src/a.ts": `export {};\n${unfinished}\n`,
    "test/b.ts": `${silenced}\nexport {};\n`,
    ".ci/run": `#!/bin/sh\n${unfinished.replace("//", "#")}\n`,
    "node_modules/x/index.js": unfinished,
  });
  const files = await readTexts(root);
  t.same(checkLength(files, new Set(["docs/api.md"])).map(place), ["docs/long.md"]);
  t.same(checkUnfinished(files).map(place), [".ci/run:2", "src/a.ts:2"]);
  t.same(checkSuppressions(files).map(place), ["test/b.ts:1"]);
});

t.test("commands in documents", async (t) => {
  const callable = {
    scripts: new Set(["test", "check"]),
    commands: { serve: { flags: { port: {} }, enableJsonFlag: true }, "users:list": { baseFlags: { config: {} } } },
  };
  const wrongLines = (text: string, known: Parameters<typeof checkCommands>[1] = callable) =>
    checkCommands([{ path: "README.md", text }], known).map((finding) => finding.line);
  const block = (...lines: string[]) => ["```sh", ...lines, "```"].join("\n");

  t.same(
    wrongLines(
      block(
        "npm ci && npx tintype serve",
        "$ TINTYPE_PORT=1 npx tintype serve --port 3000 --json # npm run nothing",
        "npx tintype users list \\",
        "  --config=x | head; npx tintype users --help",
        "npm test -- src/a.test.ts && npm run check",
        "npx tintype --version",
      ),
    ),
    [],
  );
  t.same(wrongLines(block("npm run build", "npm start", "npm tset")), [2, 3, 4]);
  t.same(wrongLines(block("npx tintype srve", "npx tintype users lst", "npx tintype serve --prot 1")), [2, 3, 4]);
  t.same(wrongLines(block("npx tintype serve \\", "  --prot 1")), [3]);
  t.same(wrongLines("Type `npm run build`, or `npx tintype serve`.\nnpm run prose is no command"), [1]);
  t.same(wrongLines("```json\nnpm run build\n```\n```\nnpm run build\n```"), [5]);
  t.same(wrongLines(block("npx tintype serve"), { ...callable, commands: undefined }), [2]);
});
