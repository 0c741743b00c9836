import { join } from "node:path";
import { cache, cached } from "./cache.ts";
import { programOf, runTool } from "./machine.ts";

/** A program that is had in source only, or whose source is the easiest to get everywhere. */
export interface GoProgram {
  readonly name: string;
  /** Import path of its main package. */
  readonly source: string;
  readonly version: string;
  /** The least version of Go that it builds with, as its go.mod says. */
  readonly go: string;
}

/** The one on the PATH, else the one that was built. */
export async function findGoProgram({ name, version }: GoProgram): Promise<string | undefined> {
  const found = await programOf(name);
  if (found) return found;
  const folder = await cached(name, version);
  return folder && join(folder, name);
}

export async function installGoProgram(wanted: GoProgram): Promise<void> {
  if (await findGoProgram(wanted)) return;
  const go = await programOf("go");
  if (!go)
    throw new Error(`is built with Go ${wanted.go} or newer, which is not on the PATH: https://go.dev/doc/install`);
  await cache(wanted.name, wanted.version, async (folder) => {
    await runTool(go, ["install", `${wanted.source}@${wanted.version}`], { GOBIN: folder });
  });
}
