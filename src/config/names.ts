import { envName, sections, settings } from "./schema.ts";

/** Settings of later versions: an operator may have them set already, or again after going back to this version. */
export const RESERVED: readonly string[] = [
  "cassandra.contact_points",
  "cassandra.local_datacenter",
  "cassandra.keyspace",
  "messages.retention",
  "realtime.port",
  "media.max_video",
];

/** The variable that names the configuration file; being no part of the configuration, it is no setting. */
export const CONFIG_FILE_VARIABLE = "TINTYPE_CONFIG";

/** What is to be said about a name that is no setting of this version. */
export interface Remark {
  readonly severity: "warning" | "mistake";
  readonly text: string;
}

/**
 * @param kind how settings are named where `name` was found
 * @param where is put behind the name, as in `feed.fanout_threshold in /etc/tintype.toml`
 */
export function remarkOn(name: string, kind: "env" | "key", where = ""): Remark {
  const named = (key: string) => (kind === "env" ? envName(key) : key);
  const mistake = (text: string): Remark => ({ severity: "mistake", text: `${name}${where}${text}` });

  if (RESERVED.some((key) => named(key) === name)) {
    return {
      severity: "warning",
      text: `${name}${where} is a setting of a later version and has no effect in this one.`,
    };
  }
  if (kind === "key" && sections().some((section) => section.name === name)) {
    return mistake(` is a section of settings and cannot have a value; write [${name}] above them`);
  }
  const names = [...settings().map((setting) => setting.name), ...RESERVED].map(named);
  const meant = closest(name, kind === "env" ? [...names, CONFIG_FILE_VARIABLE] : names);
  return mistake(` is not a setting${meant === undefined ? "" : `; did you mean ${meant}?`}`);
}

/**
 * Kubernetes describes every service of a namespace in its containers' environment. A service named `tintype` becomes
 * TINTYPE_SERVICE_HOST, TINTYPE_PORT=tcp://…, TINTYPE_PORT_3000_TCP_ADDR …; one named `tintype-worker` likewise.
 */
export function isServiceLink(name: string, value: string): boolean {
  return (
    /^TINTYPE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/.test(name) ||
    (/_PORT$/.test(name) && /^(tcp|udp|sctp):\/\//.test(value))
  );
}

/** The nearest of `candidates`, if it is near enough to be a slip of the pen: a third of the letters, at least two. */
export function closest(name: string, candidates: readonly string[]): string | undefined {
  const limit = Math.max(2, Math.floor(name.replace("TINTYPE_", "").length / 3));
  const ranked = candidates
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best !== undefined && best.distance <= limit ? best.candidate : undefined;
}

/** Levenshtein's: how many letters must be inserted, removed or replaced. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of Array.from(a).entries()) {
    const next = [i + 1];
    for (let j = 1; j <= b.length; j++) {
      const [diagonal = 0, above = 0, left = 0] = [row[j - 1], row[j], next[j - 1]];
      next.push(Math.min(diagonal + (letter === b[j - 1] ? 0 : 1), above + 1, left + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
