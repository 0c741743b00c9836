import { glob } from "node:fs/promises";

/** Acceptance tests are the slowest: they start first, so that none of them runs on alone at the end. */
const TESTS = ["test/**/*.test.ts", "plugins/**/*.test.ts", "src/**/*.test.ts", "scripts/**/*.test.ts"];
/** They kill, pause and cut real services, for minutes. */
const FAULTS = "test/faults/**";

/**
 * The test files that are named: files as they are, a folder as the tests below it. None named is all of them, those of
 * faults only if it is to be `full`.
 * @param root absolute; what is found is relative to it.
 */
export async function testFiles(root: string, named: readonly string[], full: boolean): Promise<string[]> {
  if (named.length === 0) return Array.fromAsync(glob(TESTS, { cwd: root, exclude: full ? [] : [FAULTS] }));
  const patterns = named.map((name) => (/\.ts$/.test(name) ? name : `${name}/**/*.test.ts`));
  return Array.fromAsync(glob(patterns, { cwd: root }));
}
