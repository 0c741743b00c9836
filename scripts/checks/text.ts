import { readdir, readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import type { Finding } from "./project.ts";

/** A text file of ours, with its path relative to the root. */
export interface TextFile {
  readonly path: string;
  readonly text: string;
}

/** Of the root itself only the files; tools keep folders of their own there. */
const FOLDERS = [".ci", ".github", "bin", "compose", "docs", "migrations", "plugins", "scripts", "src", "test"];
const WRITTEN_BY_TOOLS = new Set(["package-lock.json"]);

/** Every text file of ours under `root`. What holds a NUL byte is taken for binary and left out. */
export async function readTexts(root: string): Promise<TextFile[]> {
  const entries = await readdir(root, { withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
  for (const folder of FOLDERS) {
    if (!entries.some((entry) => entry.isDirectory() && entry.name === folder)) continue;
    for (const entry of await readdir(join(root, folder), { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) paths.push(join(entry.parentPath, entry.name).slice(root.length + 1));
    }
  }
  const files = await Promise.all(
    paths
      .filter((path) => !WRITTEN_BY_TOOLS.has(path))
      .sort()
      .map(async (path) => ({ path, text: await readFile(join(root, path), "utf8") })),
  );
  return files.filter((file) => !file.text.includes("\0"));
}

const MAX_LINES = 400;
const WRITTEN_BY_HAND = new Set([".ts", ".js", ".mjs", ".sql", ".cql", ".lua", ".sh", ".md"]);
/** It grows with every release and nobody reads it in one sitting. */
const MAY_GROW = new Set(["CHANGELOG.md"]);

/** A file can be read in one sitting. `generated` files are nobody's to shorten. */
export function checkLength(files: readonly TextFile[], generated: ReadonlySet<string>): Finding[] {
  return files
    .filter(({ path }) => WRITTEN_BY_HAND.has(extname(path)) && !MAY_GROW.has(path) && !generated.has(path))
    .map(({ path, text }) => ({ path, lines: text.replace(/\n$/, "").split("\n").length }))
    .filter(({ lines }) => lines > MAX_LINES)
    .map(({ path, lines }) => ({ file: path, message: `${lines} lines; split it, ${MAX_LINES} are the most` }));
}

// Written so that this file does not find itself.
const UNFINISHED = /\b(?:TO|FIX)(?:DO|ME)\b/;
const SUPPRESSION = /@ts-(?:ignore|expect-error|nocheck)|(?:biome|c8|istanbul|v8)[- ]ignore|eslint[-]disable/;

/** What is written is done: no notes to do it some day. */
export const checkUnfinished = (files: readonly TextFile[]): Finding[] =>
  linesWith(files, UNFINISHED, "is unfinished: do it, or file it where work is planned");

/** A rule that is wrong is changed for everybody; nobody is excused from it in place. */
export const checkSuppressions = (files: readonly TextFile[]): Finding[] =>
  linesWith(files, SUPPRESSION, "silences a check: mend the code, or change the rule for everybody");

function linesWith(files: readonly TextFile[], pattern: RegExp, message: string): Finding[] {
  return files.flatMap(({ path, text }) =>
    text.split("\n").flatMap((content, index) => {
      const found = pattern.exec(content)?.[0];
      return found === undefined ? [] : [{ file: path, line: index + 1, message: `"${found}" ${message}` }];
    }),
  );
}
