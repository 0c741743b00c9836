import { join } from "node:path";
import type { Test } from "tap";
import { type LoadedConfig, type LoadOptions, loadConfig } from "../../../src/config/load.ts";
import { ConfigError } from "../../../src/errors.ts";

export const FEATURES = {
  known: ["accounts", "graph", "media", "posts", "feed", "likes"],
  core: ["accounts", "graph", "media", "posts"],
};
/** A directory without a tintype.toml; with `env` given, nothing of the surroundings is read. */
export const EMPTY = import.meta.dirname;
export const POSTGRES = "postgres://tintype:hunter2@db.example.com:5432/tintype";

export function load(options: Partial<LoadOptions> = {}): LoadedConfig {
  return loadConfig({ env: {}, cwd: EMPTY, uid: 1000, terminal: false, features: FEATURES, ...options });
}

/** The lines of the message with which loading is refused, without its head. */
export function mistakes(options: Partial<LoadOptions>): string[] {
  try {
    load(options);
  } catch (error) {
    if (!(error instanceof ConfigError) || !error.hint?.includes("config check")) throw error;
    return error.message
      .split("\n")
      .slice(1)
      .map((line) => line.trim());
  }
  throw new Error("nothing was refused");
}

/** A folder with this tintype.toml. */
export function withFile(t: Test, text: string): { cwd: string; file: string } {
  const cwd = t.testdir({ "tintype.toml": text });
  return { cwd, file: join(cwd, "tintype.toml") };
}
