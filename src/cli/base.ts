import { Command, Flags } from "@oclif/core";
import type { Logger } from "pino";
import type { LoadedConfig } from "../config/load.ts";
import { parseDuration } from "../config/units.ts";
import type { Context } from "../context.ts";
import type { Deps } from "../deps.ts";
import { explain, printError } from "./explain.ts";
import { allFeatures, featuresOf, readConfig } from "./program.ts";
import { formatTable } from "./table.ts";

/**
 * What every command shares: `--config`, `--json`, the output rules and the exits.
 *
 * With `--json` stdout holds one JSON document, what `run` returns, or `{"error":{…}}`. Logs go to stderr. Exits: 0 done,
 * 1 our fault, 2 wrong usage, 3 wrong configuration, 4 a dependency is down.
 */
export abstract class BaseCommand extends Command {
  static override enableJsonFlag = true;
  static override baseFlags = {
    config: Flags.string({ description: "configuration file (TOML)", helpValue: "FILE", helpGroup: "GLOBAL" }),
  };

  /** The configuration, with what the flags say on top. */
  protected async loadConfig(
    flags: { config?: string | undefined },
    settings: Record<string, string | undefined> = {},
  ): Promise<LoadedConfig> {
    const loaded = readConfig({ flags: settings, file: flags.config });
    for (const warning of loaded.warnings) this.logToStderr(`Warning: ${warning}`);
    return loaded;
  }

  /** Opens everything, runs `work`, closes everything. For commands that look at or change what is stored. */
  protected async withContext<T>(
    flags: { config?: string | undefined },
    work: (context: Context) => Promise<T>,
  ): Promise<T> {
    return this.withDeps(flags, ({ context }) => work(context));
  }

  /** The same, for those that want connections of their own. */
  protected async withDeps<T>(flags: { config?: string | undefined }, work: (deps: Deps) => Promise<T>): Promise<T> {
    const loaded = await this.loadConfig(flags);
    const [{ openDeps }, log] = await Promise.all([import("../deps.ts"), this.createLog(loaded)]);
    const deps = await openDeps({
      config: loaded.config,
      log,
      role: "command",
      features: featuresOf(loaded),
      allFeatures: allFeatures(),
    });
    try {
      return await work(deps);
    } finally {
      await deps.close();
    }
  }

  /** A command speaks of what goes wrong; what goes well is in its output. */
  protected async createLog({ config }: LoadedConfig): Promise<Logger> {
    const { createLogger } = await import("../log.ts");
    const quiet = config.log.level === "info" ? "warn" : config.log.level;
    return createLogger({ ...config.log, level: quiet });
  }

  /** Milliseconds of a duration that a flag gives; `0` needs no unit. Another text is wrong usage. */
  protected duration(flag: string, text: string): number {
    const milliseconds = text === "0" ? 0 : parseDuration(text);
    if (milliseconds === undefined) this.error(`--${flag} wants a duration such as 30m, 24h or 7d.`, { exit: 2 });
    return milliseconds;
  }

  /** The time that a flag gives: a date, a time, or how long ago. Another text is wrong usage. */
  protected moment(flag: string, text: string): Date {
    const ago = parseDuration(text);
    const at =
      ago === undefined && /^\d{4}-\d\d-\d\d/.test(text) ? new Date(text) : new Date(Date.now() - (ago ?? Number.NaN));
    if (Number.isNaN(at.getTime())) {
      this.error(
        `--${flag} wants a date such as 2027-01-31, a time such as 2027-01-31T18:00Z, or a duration such as 7d.`,
        { exit: 2 },
      );
    }
    return at;
  }

  protected table<Row extends object>(rows: readonly Row[], columns: ReadonlyArray<keyof Row & string>): void {
    this.log(formatTable(rows, columns));
  }

  protected override async catch(error: Error): Promise<void> {
    const explained = explain(error);
    printError(explained, this.jsonEnabled());
    this.exit(explained.exit);
  }
}
