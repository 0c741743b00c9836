/**
 * Writes the generated pages of docs/. `--check` writes nothing, names the pages that are stale and exits with 1.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";

const ROOT = join(import.meta.dirname, "..");

interface GeneratedPage {
  /** Relative to the root of the project. */
  readonly file: string;
  /** The whole text of the page, newline at its end. */
  render(): Promise<string>;
}

/** Loaded when they are rendered, so that the list can be had without the product. */
const PAGES: readonly GeneratedPage[] = [
  {
    file: "docs/configuration.md",
    render: async () => (await import("../src/config/docs.ts")).renderConfigurationDocs(),
  },
  { file: "docs/cli.md", render: async () => (await import("./pages/cli.ts")).renderCli() },
  { file: "docs/api.md", render: async () => (await import("./pages/api.ts")).renderApi() },
  { file: "docs/errors.md", render: async () => (await import("./pages/errors.ts")).renderErrors() },
];

/** The generated pages, relative to the root. */
export const GENERATED_DOCS: ReadonlySet<string> = new Set(PAGES.map((page) => page.file));

if (import.meta.main) {
  const { values } = parseArgs({ options: { check: { type: "boolean", default: false } } });
  const stale: string[] = [];
  for (const page of PAGES) {
    const path = join(ROOT, page.file);
    const [rendered, written] = await Promise.all([page.render(), readFile(path, "utf8").catch(() => undefined)]);
    if (rendered === written) continue;
    stale.push(page.file);
    if (!values.check) await writeFile(path, rendered);
  }
  for (const file of stale) process.stdout.write(values.check ? `${file} is stale: run npm run docs\n` : `${file}\n`);
  if (values.check && stale.length > 0) process.exitCode = 1;
}
