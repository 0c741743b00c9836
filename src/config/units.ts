import { isIP } from "node:net";
import {
  type Static,
  type TArray,
  type TBoolean,
  type TEnum,
  type TInteger,
  type TProperties,
  type TSchema,
  type TString,
  Type,
} from "typebox";

/** What an operator is told about a setting. */
export interface Facts {
  /** What it does and when to change it, one or two sentences. */
  readonly description: string;
  /** As it would be written in the environment; null where `otherwise` says what holds instead. */
  readonly default: string | null;
  /** What holds where nothing is set and `default` is null, as a phrase. */
  readonly otherwise?: string;
  /** A secret's value is never shown, not even when it is wrong. */
  readonly secret?: boolean;
}

/** How what an operator writes becomes a value, and how a value is shown. */
export interface Rules extends Facts {
  /** Ends the sentence "it must be …". */
  readonly wants: string;
  /** Is said after `wants` to whoever got it wrong: how such a value is written. */
  readonly form?: string;
  /**
   * Reads a string (from a flag, the environment or the file) or a native TOML value. Answers undefined where it is
   * not understood; whether an understood value is in bounds is the schema's to say.
   */
  readonly parse: (input: unknown) => unknown;
  /** The value as text that may be shown to anybody; two forms of one value are shown alike. */
  readonly format: (value: unknown) => string;
}

/** A TypeBox schema of a setting's value, with the setting's rules. */
export type TSetting<S extends TSchema = TSchema> = S & { readonly setting: Rules };

export const REDACTED = "[redacted]";

type DurationUnit = "ms" | "s" | "m" | "h" | "d";
type SizeUnit = "b" | "kb" | "mb" | "gb";
type Range<T> = { readonly minimum: T; readonly maximum: T };

/** Largest first, as formatting tries them in this order. */
const DURATION_UNITS: Readonly<Record<DurationUnit, number>> = {
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
};
const BOOLEANS = new Map([
  ["true", true],
  ["1", true],
  ["yes", true],
  ["false", false],
  ["0", false],
  ["no", false],
]);
const SIZE_UNITS: Readonly<Record<SizeUnit, number>> = { gb: 1024 ** 3, mb: 1024 ** 2, kb: 1024, b: 1 };

/** `90s` → 90000. Undefined for what is no duration; a bare number is none, because its unit would be a guess. */
export function parseDuration(text: string): number | undefined {
  return parseQuantity(text, DURATION_UNITS);
}

/** 90000 → `90s`: the largest unit that needs no fraction. */
export function formatDuration(milliseconds: number): string {
  return formatQuantity(milliseconds, DURATION_UNITS);
}

/** `20mb` → 20971520. Undefined for what is no size. */
export function parseSize(text: string): number | undefined {
  return parseQuantity(text, SIZE_UNITS);
}

/** 20971520 → `20mb`: the largest unit that needs no fraction. */
export function formatSize(bytes: number): string {
  return formatQuantity(bytes, SIZE_UNITS);
}

function parseQuantity(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const [, digits, unit] = /^(\d+)([a-z]+)$/i.exec(text) ?? [];
  const factor =
    unit === undefined ? undefined : Object.entries(units).find(([name]) => name === unit.toLowerCase())?.[1];
  if (digits === undefined || factor === undefined) return undefined;
  const value = Number(digits) * factor;
  return Number.isSafeInteger(value) ? value : undefined;
}

function formatQuantity(value: number, units: Readonly<Record<string, number>>): string {
  const [unit, factor] = Object.entries(units).find(([, size]) => value >= size && value % size === 0) ?? [];
  // Only 0 is below every unit; the smallest unit, the last one, divides everything else.
  return factor === undefined ? `0${Object.keys(units).at(-1)}` : `${value / factor}${unit}`;
}

/** A whole number within bounds. */
export function integer(options: Facts & Range<number>): TSetting<TInteger> {
  const { minimum, maximum, ...facts } = options;
  return setting(Type.Integer({ minimum, maximum }), facts, {
    wants: `a whole number from ${minimum} to ${maximum}`,
    parse: (input) =>
      typeof input === "number"
        ? input
        : fromText(input, (text) => (/^[+-]?\d+$/.test(text) ? Number(text) : undefined)),
  });
}

/** A span of time, kept in milliseconds. */
export function duration(options: Facts & Range<`${number}${DurationUnit}`>): TSetting<TInteger> {
  const { minimum, maximum, ...facts } = options;
  const bounds = { minimum: literal(minimum, parseDuration), maximum: literal(maximum, parseDuration) };
  return setting(Type.Integer(bounds), facts, {
    wants: `a duration from ${minimum} to ${maximum}`,
    form: `a number and its unit (ms, s, m, h, d) such as "${facts.default ?? minimum}"`,
    parse: (input) => fromText(input, parseDuration),
    format: (value) => formatDuration(Number(value)),
  });
}

/** An amount of bytes; the units are multiples of 1024. */
export function size(options: Facts & Range<`${number}${SizeUnit}`>): TSetting<TInteger> {
  const { minimum, maximum, ...facts } = options;
  const bounds = { minimum: literal(minimum, parseSize), maximum: literal(maximum, parseSize) };
  return setting(Type.Integer(bounds), facts, {
    wants: `a size from ${minimum} to ${maximum}`,
    form: `a number and its unit (b, kb, mb, gb) such as "${facts.default ?? minimum}"`,
    parse: (input) => fromText(input, parseSize),
    format: (value) => formatSize(Number(value)),
  });
}

/** At most so many in any `window` (milliseconds) of time; 0 of both where nothing is limited. */
export type Limit = Static<ReturnType<typeof limitSchema>>;

/** A new one for each setting, which is kept with it. */
const limitSchema = () => Type.Object({ most: Type.Integer({ minimum: 0 }), window: Type.Integer({ minimum: 0 }) });

/** How long a window may be, in milliseconds: what is told in seconds has to have one. */
const WINDOW = { minimum: 1_000, maximum: 30 * DURATION_UNITS.d };
const MOST = 1_000_000_000;

/** How often something may be done. */
export function limit(facts: Facts): TSetting<ReturnType<typeof limitSchema>> {
  return setting(limitSchema(), facts, {
    wants: "how often in how long (1s to 30d), such as 30/1h, or 0 for no limit",
    ...limitOf({
      parse: (text) => (/^\d+$/.test(text) && Number(text) <= MOST ? Number(text) : undefined),
      format: String,
    }),
  });
}

/** How many bytes may come. */
export function sizeLimit(facts: Facts): TSetting<ReturnType<typeof limitSchema>> {
  return setting(limitSchema(), facts, {
    wants: "how much in how long (1s to 30d), such as 2gb/1d, or 0 for no limit",
    ...limitOf({ parse: parseSize, format: formatSize }),
  });
}

function limitOf(amount: { parse: (text: string) => number | undefined; format: (amount: number) => string }) {
  return {
    parse: (input: unknown): Limit | undefined =>
      input === 0 ? { most: 0, window: 0 } : fromText(input, (text) => parseLimit(text, amount.parse)),
    format: (value: unknown): string => {
      const { most, window } = value as Limit;
      return most === 0 ? "0" : `${amount.format(most)}/${formatDuration(window)}`;
    },
  };
}

function parseLimit(text: string, parseAmount: (text: string) => number | undefined): Limit | undefined {
  if (text === "0") return { most: 0, window: 0 };
  const [amount = "", time = "", ...rest] = text.split("/");
  const [most, window] = [parseAmount(amount), parseDuration(time)];
  if (most === undefined || window === undefined || rest.length > 0) return undefined;
  if (window < WINDOW.minimum || window > WINDOW.maximum) return undefined;
  return most === 0 ? { most: 0, window: 0 } : { most, window };
}

export function boolean(facts: Facts): TSetting<TBoolean> {
  return setting(Type.Boolean(), facts, {
    wants: "true or false (or 1 or 0, yes or no)",
    parse: (input) =>
      typeof input === "boolean" ? input : fromText(input, (text) => BOOLEANS.get(text.toLowerCase())),
  });
}

/** One of a few words, in any case. */
export function choice<const Values extends string[]>(
  options: Facts & { readonly values: readonly [...Values] },
): TSetting<TEnum<Values>> {
  const { values, ...facts } = options;
  return setting(Type.Enum(values), facts, {
    wants: `one of ${values.join(", ")}`,
    parse: (input) => fromText(input, (text) => text.toLowerCase()),
  });
}

/** Text for which `check` holds; `wants` ends the sentence "it must be …". */
export function text(options: Facts & Checked): TSetting<TString> {
  const { check, wants, ...facts } = options;
  return setting(Type.Refine(Type.String(), check), facts, { wants, parse: (input) => fromText(input, String) });
}

/** A comma list in a string, or an array in the file. `check` and `wants` are for each item. */
export function list(options: Facts & Checked): TSetting<TArray<TString>> {
  const { check, wants, ...facts } = options;
  return setting(Type.Array(Type.Refine(Type.String(), check)), facts, {
    wants: `a list of ${wants}`,
    parse: (input) => (Array.isArray(input) ? input : fromText(input, items)),
    format: (value) => (Array.isArray(value) && value.length > 0 ? value.join(",") : "none"),
  });
}

/** The address of a Postgres: a secret that is shown without its passwords, because its host is what one looks for. */
export function postgresUrl(facts: Facts): TSetting<TString> {
  return setting(
    Type.Refine(Type.String(), isPostgresUrl),
    { ...facts, secret: true },
    {
      wants: "a URL that begins with postgres:// or postgresql://, such as postgres://user:password@host:5432/database",
      parse: (input) => fromText(input, String),
      format: (value) => redactUrl(String(value)),
    },
  );
}

/** The address of a mail server: likewise. */
export function smtpUrl(facts: Facts): TSetting<TString> {
  return setting(
    Type.Refine(Type.String(), isSmtpUrl),
    { ...facts, secret: true },
    {
      wants: "a URL that begins with smtp:// or smtps://, such as smtp://user:password@host:587",
      parse: (input) => fromText(input, String),
      format: (value) => redactUrl(String(value)),
    },
  );
}

/** The address of a Redis: likewise. */
export function redisUrl(facts: Facts): TSetting<TString> {
  return setting(
    Type.Refine(Type.String(), isRedisUrl),
    { ...facts, secret: true },
    {
      wants: "a URL that begins with redis:// or rediss://, such as redis://:password@host:6379/0",
      parse: (input) => fromText(input, String),
      format: (value) => redactUrl(String(value)),
    },
  );
}

/** The same setting, where null stands for "none". */
export function nullable<S extends TSchema>(inner: TSetting<S>) {
  return Object.assign(Type.Union([inner, Type.Null()]), { setting: inner.setting });
}

/** Settings that belong together: a table of the file. */
export function section<P extends TProperties>(description: string, properties: P) {
  return Object.assign(Type.Object(properties), { description });
}

interface Checked {
  readonly check: (text: string) => boolean;
  readonly wants: string;
}

function setting<S extends TSchema>(
  schema: S,
  facts: Facts,
  rules: Pick<Rules, "wants" | "form" | "parse"> & Partial<Pick<Rules, "format">>,
): TSetting<S> {
  const format = rules.format ?? (facts.secret ? () => REDACTED : String);
  return Object.assign(schema, { description: facts.description, setting: { ...facts, ...rules, format } });
}

function fromText<T>(input: unknown, read: (text: string) => T): T | undefined {
  return typeof input === "string" ? read(input.trim()) : undefined;
}

function items(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

function literal(text: string, parse: (text: string) => number | undefined): number {
  const value = parse(text);
  if (value === undefined) throw new TypeError(`${text} is neither a duration nor a size`);
  return value;
}

/** An address or a name to listen on: no scheme, port or brackets. */
export function isHost(text: string): boolean {
  return isIP(text) !== 0 || /^[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?$/i.test(text);
}

/** An absolute http(s) URL to which paths can be appended: no query, fragment or credentials. A final slash is taken off later. */
export function isBaseUrl(text: string): boolean {
  return /^https?:\/\/[^\s?#@/][^\s?#@]*$/i.test(text) && URL.canParse(text);
}

/** An http(s) URL of a whole server: a host and perhaps a port. */
export function isOriginUrl(text: string): boolean {
  return isBaseUrl(text) && new URL(text).origin === text.replace(/\/$/, "");
}

/** What every S3 store takes as a bucket's name. */
export function isBucket(name: string): boolean {
  return /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) && !name.includes("..");
}

/** What a browser sends as `Origin`, to the letter. */
export function isOrigin(text: string): boolean {
  return text === "*" || (/^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text);
}

/** An IP address, or a CIDR range of at least one bit: the HTTP server takes no `/0`. */
export function isAddressRange(text: string): boolean {
  const [address = "", bits, ...rest] = text.split("/");
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return bits === undefined || (/^[1-9]\d{0,2}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
}

/** The driver also takes a URL without a host (`postgres://user@/name?host=/run/postgresql`), which WHATWG's does not. */
function isPostgresUrl(text: string): boolean {
  return /^postgres(ql)?:\/\//i.test(text) && (URL.canParse(text) || URL.canParse(text.replace("@/", "@localhost/")));
}

/** Scheme, user, password, host and port, and nothing else; what is special in a password is written %2F. */
function isSmtpUrl(text: string): boolean {
  if (!/^smtps?:\/\//i.test(text) || !URL.canParse(text)) return false;
  const { hostname, pathname, search, hash, username, password } = new URL(text);
  const complete = hostname !== "" && (password === "" || username !== "");
  return (
    complete && (pathname === "" || pathname === "/") && `${search}${hash}` === "" && isDecodable(username, password)
  );
}

function isRedisUrl(text: string): boolean {
  if (!/^rediss?:\/\//i.test(text) || !URL.canParse(text)) return false;
  const { hostname, pathname, search, hash, username, password } = new URL(text);
  return hostname !== "" && /^\/?\d*$/.test(pathname) && `${search}${hash}` === "" && isDecodable(username, password);
}

function isDecodable(...texts: string[]): boolean {
  try {
    texts.forEach(decodeURIComponent);
    return true;
  } catch {
    return false;
  }
}

/** An email address, alone or in angle brackets behind a name. */
export function isSender(text: string): boolean {
  return /^(?:[^<>@,\s"\\]+@[^<>@,\s]+|[^<>@,"\\\p{Cc}]+<[^<>@,\s"\\]+@[^<>@,\s]+>)$/u.test(text);
}

/** A valid URL without the password of its user and without query values whose name speaks of a password. */
export function redactUrl(url: string): string {
  return url
    .replace(/^(\w+:\/\/[^:@/?#]*):[^/?#]*@/, `$1:${REDACTED}@`)
    .replace(/([?&][^=&]*)=[^&]*/g, (pair, key: string) =>
      /^[?&]\w+$/.test(key) && !/pass/i.test(key) ? pair : `${key}=${REDACTED}`,
    );
}
