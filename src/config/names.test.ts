import { join } from "node:path";
import t, { type Test } from "tap";
import { ConfigError } from "../errors.ts";
import { type LoadedConfig, type LoadOptions, loadConfig } from "./load.ts";
import { REFUSED, RESERVED } from "./names.ts";
import { envName } from "./schema.ts";

const FEATURES = {
  known: ["accounts", "graph", "media", "posts", "feed", "likes"],
  core: ["accounts", "graph", "media", "posts"],
};
/** A directory without a tintype.toml; nothing in these tests reads the real environment. */
const EMPTY = t.testdir({});

function load(options: Partial<LoadOptions> = {}): LoadedConfig {
  return loadConfig({ env: {}, cwd: EMPTY, uid: 1000, terminal: false, features: FEATURES, ...options });
}

/** The lines of the message with which loading is refused, without its head. */
function mistakes(options: Partial<LoadOptions>): string[] {
  try {
    load(options);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    t.equal(error.exitCode, 3);
    t.match(error.hint, /config check/);
    return error.message
      .split("\n")
      .slice(1)
      .map((line) => line.trim());
  }
  throw new Error("nothing was refused");
}

function withFile(t: Test, text: string): { cwd: string; file: string } {
  const cwd = t.testdir({ "tintype.toml": text });
  return { cwd, file: join(cwd, "tintype.toml") };
}

t.test("names that are no settings", async (t) => {
  const unknown: Array<[name: string, meant: string | undefined]> = [
    ["TINTYPE_PROT", "TINTYPE_PORT"],
    ["TINTYPE_DATABSE_URL", "TINTYPE_DATABASE_URL"],
    ["TINTYPE_DATABASEURL", "TINTYPE_DATABASE_URL"],
    ["TINTYPE_MEDIA_MAX_PHOTOS", "TINTYPE_MEDIA_MAX_PHOTO"],
    ["TINTYPE_LIMITS_LIKES", "TINTYPE_LIMITS_LIKE"],
    ["TINTYPE_CONIFG", "TINTYPE_CONFIG"],
    ["TINTYPE_COFFEE_MACHINE", undefined],
    ["TINTYPE_", undefined],
  ];
  for (const [name, meant] of unknown) {
    const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
    t.same(mistakes({ env: { [name]: "x" } }), [`${name} is not a setting${hint}`]);
  }

  for (const name of RESERVED.map(envName)) {
    const { config, warnings } = load({ env: { [name]: "x" } });
    t.same(warnings, [`${name} is a setting of a later version and has no effect in this one.`]);
    t.same(config, load().config);
  }
  const { cwd, file } = withFile(t, '[feed]\nfanout_threshold = 5\n[limits]\nlike = "1/1h"');
  t.same(load({ cwd, env: { TINTYPE_REDIS_URL: "redis://x" } }).warnings, [
    "TINTYPE_REDIS_URL is a setting of a later version and has no effect in this one.",
    `feed.fanout_threshold in ${file} is a setting of a later version and has no effect in this one.`,
    `limits.like in ${file} is a setting of a later version and has no effect in this one.`,
  ]);
  for (const name of REFUSED.map(envName)) {
    t.same(mistakes({ env: { [name]: "x" } }), [`${name}: this version keeps media on the file system only; unset it`]);
  }
});

t.test("Kubernetes' service links", async (t) => {
  const env = {
    TINTYPE_PORT: "tcp://10.0.0.1:3000",
    TINTYPE_PORT_3000_TCP: "tcp://10.0.0.1:3000",
    TINTYPE_PORT_3000_TCP_ADDR: "10.0.0.1",
    TINTYPE_PORT_3000_TCP_PORT: "3000",
    TINTYPE_PORT_3000_TCP_PROTO: "tcp",
    TINTYPE_SERVICE_HOST: "10.0.0.1",
    TINTYPE_SERVICE_PORT: "3000",
    TINTYPE_SERVICE_PORT_HTTP: "3000",
    TINTYPE_WORKER_PORT: "tcp://10.0.0.2:9100",
    TINTYPE_WORKER_SERVICE_HOST: "10.0.0.2",
  };
  const names = Object.keys(env).sort().join(", ");
  t.same(mistakes({ env }), [
    `${names}: set by Kubernetes for a service of that name; put "enableServiceLinks: false" into the pod's spec`,
  ]);
  for (const [name, value] of Object.entries(env)) {
    t.match(mistakes({ env: { [name]: value } }), [/enableServiceLinks: false/], name);
  }
});
