/** How many assertions of a run did what. */
export interface Totals {
  readonly passed: number;
  readonly failed: number;
  /** Skipped, or marked as to be done. */
  readonly skipped: number;
}

interface Subtest {
  readonly name: string;
  /** Something in it failed and was told. */
  failed: boolean;
}

const SUBTEST = /^( *)# Subtest: (.*)$/;
const POINT = /^( *)(not ok|ok) \d+(?: - (.*?))?(?: # (skip|todo|time=)\s*(.*))?$/i;
const TOTALS = /^# \{ total: \d+.*\}$/;

/**
 * Reads the TAP of a whole run, line by line, and says what is worth saying: a line for each test file, what failed
 * with its diagnostics, and whatever the tests themselves printed. tap's own reporters either print no diagnostics
 * off a terminal or call a file passed that ended with an exit code.
 */
export class TapReport {
  /** By indentation: the subtests that are open at this point. */
  readonly #open = new Map<number, Subtest>();
  /** The indentation of the diagnostics that are being read, and whether they are shown. */
  #diagnostics: { indent: number; shown: boolean } | undefined;
  #diagnosed: { indent: number; shown: boolean } | undefined;
  #totals: Totals | undefined;
  /** Names of what was skipped inside of files: what many tests want for is told once. */
  readonly #skipped = new Set<string>();

  /** As tap counted them; undefined if it did not get to its end. */
  get totals(): Totals | undefined {
    return this.#totals;
  }

  /** @returns what to print for this line, without a line break; undefined for nothing. */
  read(line: string): string | undefined {
    if (this.#diagnostics) return this.#readDiagnostics(this.#diagnostics, line);
    if (this.#diagnosed && line === `${" ".repeat(this.#diagnosed.indent)}---`) {
      this.#diagnostics = this.#diagnosed;
      return undefined;
    }
    this.#diagnosed = undefined;

    const subtest = SUBTEST.exec(line);
    if (subtest) {
      this.#open.set(subtest[1]?.length ?? 0, { name: subtest[2] ?? "", failed: false });
      return undefined;
    }
    const point = POINT.exec(line);
    if (point) return this.#readPoint(point);
    if (TOTALS.test(line)) {
      this.#totals = parseTotals(line);
      return undefined;
    }
    return isProtocol(line) ? undefined : line;
  }

  #readDiagnostics({ indent, shown }: { indent: number; shown: boolean }, line: string): string | undefined {
    if (line === `${" ".repeat(indent)}...`) {
      this.#diagnostics = undefined;
      return undefined;
    }
    return shown ? `    ${line.slice(indent)}` : undefined;
  }

  #readPoint(point: RegExpExecArray): string | undefined {
    const indent = point[1]?.length ?? 0;
    const name = point[3] ?? "";
    const directive = point[4]?.toLowerCase();
    const own = this.#open.get(indent);
    const above = [...this.#open].filter(([depth]) => depth < indent).sort(([a], [b]) => a - b);
    for (const depth of this.#open.keys()) if (depth >= indent) this.#open.delete(depth);

    const failed = point[2] === "not ok" && directive !== "skip" && directive !== "todo";
    // Of a chain of failed subtests only the innermost says why.
    const told = failed && !own?.failed;
    this.#diagnosed = { indent: indent + 2, shown: told };
    if (failed) for (const [, subtest] of above) subtest.failed = true;
    if (indent === 0) return `${failed ? "FAIL" : directive === "skip" ? "skip" : "ok  "} ${name}${took(point)}`;
    if (directive === "skip") return this.#readSkip(name);
    if (!told) return undefined;
    return `failed: ${[...above.map(([, subtest]) => subtest.name), name].join(" > ")}`;
  }

  #readSkip(name: string): string | undefined {
    if (this.#skipped.has(name)) return undefined;
    this.#skipped.add(name);
    return `skip ${name}`;
  }
}

const took = (point: RegExpExecArray) =>
  point[4] === "time=" ? ` (${(Number.parseFloat(point[5] ?? "") / 1000).toFixed(1)} s)` : "";

/** Version, plans, pragmas and tap's own comments. */
const isProtocol = (line: string) =>
  /^ *(?:TAP version \d+|1\.\.\d+(?: #.*)?|pragma [+-]\w+|# time=.*|# No coverage generated|\}|)$/.test(line);

function parseTotals(line: string): Totals {
  const count = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(line)?.[1] ?? 0);
  return { passed: count("pass"), failed: count("fail"), skipped: count("skip") + count("todo") };
}
