import { readFileSync } from "node:fs";
import { isIPv6 } from "node:net";
import { availableParallelism, totalmem } from "node:os";
import { dirname, resolve } from "node:path";
import { parse as parseToml, TomlError } from "smol-toml";
import { Check } from "typebox/schema";
import { ConfigError } from "../errors.ts";
import { CONFIG_FILE_VARIABLE, closest, isServiceLink, remarkOn } from "./names.ts";
import { type Config, ConfigSchema, type Setting, sections, settings } from "./schema.ts";
import { REDACTED } from "./units.ts";

export type Source = "flag" | "env" | "file" | "default";

export interface LoadOptions {
  /** By the settings' flag names (`data-dir`); undefined is "not given". */
  flags?: Readonly<Record<string, string | undefined>>;
  /** Default: the process's own. */
  env?: Readonly<NodeJS.ProcessEnv>;
  /** What relative paths start from. Default: the process's own. */
  cwd?: string;
  /** The names of all features of the program, and of those that cannot be switched off. */
  features: { readonly known: readonly string[]; readonly core: readonly string[] };
  /** The configuration file, where a flag names it. */
  configFile?: string;
  /** The user that the process runs as, 0 being root. Default: the process's own. */
  uid?: number;
  /** What there is to work with, `memory` in bytes. Default: what the process may use of its machine or container. */
  machine?: { cores: number; memory: number };
  /** Whether the log goes to a terminal. Default: whether standard error is one. */
  terminal?: boolean;
}

export interface LoadedConfig {
  readonly config: Config;
  /** Where each setting's value comes from, by the setting's name. */
  readonly sources: Readonly<Record<string, Source>>;
  /** The file that was read, an absolute path. */
  readonly file: string | null;
  /** One line each, for the log. */
  readonly warnings: readonly string[];
}

/** A value as an operator gave it. */
interface Given {
  readonly source: Source;
  /** The setting's name in that source: `--port`, `TINTYPE_PORT in the environment`, `port in /etc/tintype.toml`. */
  readonly where: string;
  readonly input: unknown;
}

/** What all sources say, and what is wrong with it so far. */
interface Findings {
  /** By the setting's name, the source of the highest rank first. */
  readonly given: Map<string, Given[]>;
  readonly mistakes: string[];
  readonly warnings: string[];
}

const DEFAULT_FILE = "tintype.toml";
/** Of the memory for decoders; the rest is for the server, the embedded Postgres and the system. */
const DECODERS_SHARE = 0.75;

/**
 * Reads the configuration: flags before environment before file before defaults.
 *
 * @throws ConfigError with every mistake in every source, also of values that a higher source overrides
 */
export function loadConfig(options: LoadOptions): LoadedConfig {
  const { env = process.env, cwd = process.cwd() } = options;
  const findings: Findings = { given: new Map(), mistakes: [], warnings: [] };
  collectFlags(findings, options.flags ?? {});
  collectEnvironment(findings, env);
  const file = collectFile(findings, cwd, options.configFile ?? unlessEmpty(env[CONFIG_FILE_VARIABLE]));

  const values = new Map<string, unknown>();
  const sources: Record<string, Source> = {};
  for (const setting of settings()) {
    const byRank = (findings.given.get(setting.name) ?? []).map(({ source, where, input }) => {
      const value = setting.parse(input);
      const complaint = complainAbout(setting, value, options.features.known);
      if (complaint === undefined) return { source, value };
      findings.mistakes.push(`${setting.name}: ${where} is ${show(setting, input)}; ${complaint}`);
      return { source, value: undefined };
    });
    const fallback = {
      source: "default" as const,
      value: setting.default === null ? null : setting.parse(setting.default),
    };
    const winner = byRank[0] ?? fallback;
    values.set(setting.name, winner.value);
    sources[setting.name] = winner.source;
  }
  findings.mistakes.push(...contradictions(values));
  if (findings.mistakes.length > 0) throw refusal(findings.mistakes);

  deriveDefaults(values, options);
  const base = sources.data_dir === "file" && file !== null ? dirname(file) : cwd;
  values.set("data_dir", resolve(base, String(values.get("data_dir"))));
  return { config: assemble(values), sources, file, warnings: findings.warnings };
}

/**
 * Gives the process a SHELL where there is none. oclif would look for it in /etc/passwd, and ends there for a user who
 * is not listed, as in a container with an arbitrary uid.
 */
export function ensureShell(env: NodeJS.ProcessEnv = process.env): void {
  env.SHELL ??= "unknown";
}

/** What `public_url` is where it is not set. `serve` asks again once it knows which port it got for port 0. */
export function defaultPublicUrl(host: string, port: number): string {
  const name = host === "0.0.0.0" || host === "::" ? "localhost" : isIPv6(host) ? `[${host}]` : host;
  // URL drops the port where it is HTTP's own.
  return new URL(`http://${name}:${port}`).origin;
}

/** Whether npx started this process, through a shell of its own. */
export function startedByNpx(env: Readonly<NodeJS.ProcessEnv> = process.env): boolean {
  return env.npm_command === "exec";
}

function collectFlags({ given, mistakes }: Findings, flags: Readonly<Record<string, string | undefined>>): void {
  for (const [flag, input] of Object.entries(flags)) {
    if (input === undefined) continue;
    const setting = settings().find((candidate) => candidate.flag === flag);
    if (setting) add(given, setting, { source: "flag", where: `--${flag}`, input });
    else mistakes.push(`--${flag} is not a setting`);
  }
}

function collectEnvironment({ given, mistakes, warnings }: Findings, env: Readonly<NodeJS.ProcessEnv>): void {
  const serviceLinks: string[] = [];
  for (const [name, value] of Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const input = unlessEmpty(value);
    if (input === undefined || !name.startsWith("TINTYPE_")) continue;
    if (name === CONFIG_FILE_VARIABLE || name.startsWith("TINTYPE_TEST_")) continue;
    const setting = settings().find((candidate) => candidate.env === name);
    if (isServiceLink(name, input)) serviceLinks.push(name);
    else if (setting) add(given, setting, { source: "env", where: `${name} in the environment`, input });
    else {
      const remark = remarkOn(name, "env");
      (remark.severity === "warning" ? warnings : mistakes).push(remark.text);
    }
  }
  if (serviceLinks.length > 0) {
    mistakes.push(
      `${serviceLinks.join(", ")}: set by Kubernetes for a service of that name; put "enableServiceLinks: false" into the pod's spec`,
    );
  }
}

/** Answers the file's absolute path, or null where there is none. */
function collectFile({ given, mistakes, warnings }: Findings, cwd: string, named: string | undefined): string | null {
  const file = resolve(cwd, named ?? DEFAULT_FILE);
  let table: object;
  try {
    table = parseToml(readFileSync(file, "utf8"));
  } catch (error) {
    if (named === undefined && error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    mistakes.push(unreadable(file, error));
    return file;
  }
  for (const [name, input] of leaves(table)) {
    const setting = settings().find((candidate) => candidate.name === name);
    if (setting) {
      add(given, setting, { source: "file", where: `${name} in ${file}`, input });
      continue;
    }
    const remark = remarkOn(name, "key", ` in ${file}`);
    (remark.severity === "warning" ? warnings : mistakes).push(remark.text);
  }
  return file;
}

function unreadable(file: string, error: unknown): string {
  // Only the first line: the others quote the file, which may hold a password.
  if (error instanceof TomlError) return `${file}:${error.line}:${error.column}: ${error.message.split("\n", 1)[0]}`;
  return `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`;
}

/** The values of a TOML table under their dotted names. */
function leaves(table: object, section = ""): Array<[name: string, value: unknown]> {
  return Object.entries(table).flatMap(([key, value]: [string, unknown]): Array<[string, unknown]> => {
    const name = `${section}${key}`;
    const isTable = typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
    if (!isTable) return [[name, value]];
    const isEmpty = Object.keys(value).length === 0;
    if (isEmpty) return sections().some((known) => known.name === name) ? [] : [[name, value]];
    return leaves(value, `${name}.`);
  });
}

function add(given: Findings["given"], setting: Setting, value: Given): void {
  given.set(setting.name, [...(given.get(setting.name) ?? []), value]);
}

function unlessEmpty(value: string | undefined): string | undefined {
  return value === undefined || value.trim() === "" ? undefined : value;
}

/** Why `value`, which `setting` understood (or not: undefined), cannot be taken. */
function complainAbout(setting: Setting, value: unknown, knownFeatures: readonly string[]): string | undefined {
  if (!Check(setting.schema, value)) return `it must be ${[setting.wants, setting.form].filter(Boolean).join(", ")}`;
  if (setting.name !== "features" || !Array.isArray(value)) return undefined;
  const unknown = value.map(String).filter((name) => !knownFeatures.includes(name));
  if (unknown.length === 0) return undefined;
  const hints = unknown.map((name) => {
    const meant = closest(name, knownFeatures);
    return meant === undefined ? `"${name}"` : `"${name}" (did you mean ${meant}?)`;
  });
  return `there is no feature ${hints.join(", ")}; the features are ${knownFeatures.join(", ")}`;
}

/** A wrong value as it may be shown: cut short, without the passwords of URLs, and nothing of a secret. */
function show(setting: Setting, input: unknown): string {
  if (setting.secret) return REDACTED;
  const text = typeof input === "number" ? String(input) : (JSON.stringify(input) ?? String(input));
  const safe = text.replace(/:\/\/[^\s/]*@/g, `://${REDACTED}@`);
  return safe.length > 100 ? `${safe.slice(0, 100)}…` : safe;
}

/** Values that are right by themselves, but not together. Wrong ones are undefined here and compared with nothing. */
function contradictions(values: ReadonlyMap<string, unknown>): string[] {
  return [...inWrongOrder(values), ...halfSet(values), ...redirectToNowhere(values), ...storesAtOdds(values)];
}

/** What only works together. */
const TOGETHER = [
  { what: "mail", names: ["smtp.url", "smtp.from"] },
  { what: "an S3 store", names: ["s3.endpoint", "s3.access_key", "s3.secret_key"] },
];

/** Of settings that only work together, those that are missing. */
function halfSet(values: ReadonlyMap<string, unknown>): string[] {
  return TOGETHER.flatMap(({ what, names }) => {
    const missing = names.filter((name) => values.get(name) === null);
    if (missing.length === 0 || missing.length === names.length) return [];
    const verb = missing.length === 1 ? "is" : "are";
    return [`${missing.join(" and ")} ${verb} missing: ${what} needs ${names.join(", ")}; set all of them or none`];
  });
}

function redirectToNowhere(values: ReadonlyMap<string, unknown>): string[] {
  if (values.get("delivery.by") !== "redirect" || values.get("s3.endpoint") !== null) return [];
  return [
    "delivery.by is redirect, but there is no S3 store to redirect to; set s3.endpoint, or delivery.by to serve or accel",
  ];
}

function storesAtOdds(values: ReadonlyMap<string, unknown>): string[] {
  const s3 = values.get("s3.endpoint") !== null;
  const store = values.get("media.store") ?? (s3 ? "s3" : "filesystem");
  const old = values.get("media.migrate_from");
  return [
    ...(!s3 && [store, old].includes("s3")
      ? ["media.store or media.migrate_from is s3, but s3.endpoint is not set"]
      : []),
    ...(store === old ? [`media.migrate_from is ${old}, and so is media.store; unset it when all has been moved`] : []),
  ];
}

function inWrongOrder(values: ReadonlyMap<string, unknown>): string[] {
  const rules = [
    // Node's HTTP server throws for such a pair.
    { small: "http.header_timeout", large: "http.request_timeout", why: "the headers are a part of the request" },
    {
      small: "http.request_timeout",
      large: "media.staging_max_age",
      why: "an upload that is still running must not be removed",
    },
  ];
  return rules.flatMap(({ small, large, why }) => {
    const [less, more] = [values.get(small), values.get(large)];
    if (typeof less !== "number" || typeof more !== "number" || less <= more) return [];
    return [`${small} (${format(small, less)}) must not exceed ${large} (${format(large, more)}): ${why}`];
  });
}

function format(name: string, value: unknown): string {
  return (
    settings()
      .find((setting) => setting.name === name)
      ?.format(value) ?? String(value)
  );
}

/** Fills in what follows from other settings and from the machine. */
function deriveDefaults(values: Map<string, unknown>, options: LoadOptions): void {
  const { uid = process.getuid?.(), terminal = process.stderr.isTTY === true, machine = ownMachine() } = options;
  const { known, core } = options.features;
  const chosen = values.get("features");
  const derive = (name: string, value: unknown) => values.set(name, values.get(name) ?? value);
  for (const name of ["public_url", "media.public_base_url", "s3.endpoint", "s3.public_endpoint"]) {
    const given = values.get(name);
    if (typeof given === "string") values.set(name, given.replace(/\/+$/, ""));
  }
  derive("public_url", defaultPublicUrl(String(values.get("host")), Number(values.get("port"))));
  derive("data_dir", uid === 0 ? "/var/lib/tintype" : "tintype-data");
  derive("worker.embedded", values.get("database.url") === null);
  derive("media.store", values.get("s3.endpoint") === null ? "filesystem" : "s3");
  // One of them is the side lane, which has no place of its own here: see the feature media.
  const decoders = Math.floor((machine.memory * DECODERS_SHARE) / Number(values.get("media.decoder_memory"))) - 1;
  derive("worker.concurrency", Math.min(1024, Math.max(1, Math.min(machine.cores, decoders))));
  derive("log.format", terminal ? "pretty" : "json");
  values.set(
    "features",
    known.filter((name) => core.includes(name) || !Array.isArray(chosen) || chosen.includes(name)),
  );
}

function ownMachine(): { cores: number; memory: number } {
  // 0 where the system cannot tell, and more than there is where nothing is limited.
  const limit = process.constrainedMemory() || Number.POSITIVE_INFINITY;
  return { cores: availableParallelism(), memory: Math.min(limit, totalmem()) };
}

function assemble(values: ReadonlyMap<string, unknown>): Config {
  const config: Record<string, unknown> = {};
  for (const { name } of sections()) {
    const keys = settings().filter((setting) => setting.section === name);
    config[name] = Object.fromEntries(keys.map((setting) => [setting.key, values.get(setting.name)]));
  }
  for (const setting of settings()) {
    if (setting.section === null) config[setting.key] = values.get(setting.name);
  }
  if (!Check(ConfigSchema, config)) throw new TypeError("a derived setting is not what its schema says");
  return config;
}

function refusal(mistakes: readonly string[]): ConfigError {
  const head =
    mistakes.length === 1 ? "The configuration is wrong:" : `The configuration is wrong in ${mistakes.length} places:`;
  return new ConfigError([head, ...mistakes.map((mistake) => `  ${mistake}`)].join("\n"), {
    hint: "Mend it and run `tintype config check`, which starts nothing; docs/configuration.md lists every setting.",
  });
}
