import { isIP } from "node:net";
import { Args, Flags } from "@oclif/core";
import { BaseCommand } from "../../src/cli/base.ts";
import type { Context } from "../../src/context.ts";
import { ConfigError } from "../../src/errors.ts";
import type { LogName } from "./limiter.ts";
import type { Limit } from "./limits.ts";

const who = Args.string({ description: "a user name, or an address", required: true });

/** One limit of somebody. */
interface Log {
  limit: Limit;
  name: LogName;
  /** By which name or email guesses are counted; null for all other limits. */
  login: string | null;
}

export class LimitsShow extends BaseCommand {
  static override summary = "how much of each limit an account or an address has used";
  static override description = "Of an address this is what it was not signed in for.";
  static override examples = ["<%= config.bin %> limits show ana", "<%= config.bin %> limits show 203.0.113.7"];
  static override args = { who };

  override async run(): Promise<unknown> {
    const { args, flags } = await this.parse(LimitsShow);
    const { lookInRedis } = await import("./limiter.ts");
    const limits = await this.withContext(flags, async (context) => {
      const { redis } = context;
      if (redis === null) {
        throw new ConfigError("without Redis each server keeps its limits in its own memory", {
          hint: "Set TINTYPE_REDIS_URL, if the servers use one. `tintype limits reset` reaches them without.",
        });
      }
      await redis.ping();
      return Promise.all(
        (await logsOf(context, args.who)).map(async ({ limit: { rule }, name, login }) => {
          const { used, resetAt } = await lookInRedis(redis, name, rule);
          return {
            limit: name.limit,
            ...(login === null ? {} : { login }),
            most: rule.most,
            used,
            remaining: Math.max(0, rule.most - used),
            resets_at: used === 0 ? null : new Date(resetAt).toISOString(),
          };
        }),
      );
    });
    this.table(limits, ["limit", "login", "most", "used", "remaining", "resets_at"] as never);
    return { limits };
  }
}

export class LimitsReset extends BaseCommand {
  static override summary = "forget what an account or an address has used of its limits";
  static override description = "On all servers, with Redis or without.";
  static override examples = [
    "<%= config.bin %> limits reset ana",
    "<%= config.bin %> limits reset ana --action like",
    "<%= config.bin %> limits reset 203.0.113.7",
  ];
  static override args = { who };
  static override flags = {
    action: Flags.string({ description: "only this limit, as `limits show` names it", helpValue: "LIMIT" }),
    "dry-run": Flags.boolean({ description: "only say which would be reset", default: false }),
  };

  override async run(): Promise<unknown> {
    const { args, flags } = await this.parse(LimitsReset);
    const dryRun = flags["dry-run"];
    const { resetLimit } = await import("./limiter.ts");
    const reset = await this.withContext(flags, async (context) => {
      const all = (await logsOf(context, args.who)).map(({ name }) => name);
      const chosen = all.filter(({ limit }) => flags.action === undefined || limit === flags.action);
      if (chosen.length === 0) {
        const known = [...new Set(all.map(({ limit }) => limit))].join(", ");
        this.error(`There is no limit ${flags.action} of ${args.who}; there are: ${known || "none"}.`, { exit: 2 });
      }
      if (!dryRun) for (const name of chosen) await resetLimit(context, name);
      return [...new Set(chosen.map(({ limit }) => limit))];
    });
    this.log(`${dryRun ? "Would reset" : "Reset"} ${reset.join(", ")} of ${args.who}.`);
    return { reset, dry_run: dryRun };
  }
}

/** The limits that are on, of the account or the address that was named. @throws 404 */
async function logsOf({ config, db }: Context, named: string): Promise<Log[]> {
  const [{ accountLoginLimit, LIMIT_NAMES, limitOf }, { subjectOfAddress, subjectOfLogin }, { requireAccount }] =
    await Promise.all([import("./limits.ts"), import("./subjects.ts"), import("../accounts/index.ts")]);
  const limits = LIMIT_NAMES.flatMap((name) => limitOf(config, name) ?? []);
  const logs = (by: (limit: Limit) => boolean, subject: string): Log[] =>
    limits.filter(by).map((limit) => ({ limit, name: { limit: limit.name, subject }, login: null }));
  if (isIP(named) !== 0) return logs(({ by }) => by.startsWith("address"), subjectOfAddress(named));
  const { id, username, email } = await requireAccount(db, named);
  const guesses = accountLoginLimit(config);
  const byName = [username, email].flatMap((login): Log[] =>
    guesses ? [{ limit: guesses, login, name: { limit: guesses.name, subject: subjectOfLogin(login) } }] : [],
  );
  return [...logs(({ by }) => by === "account", id), ...byName];
}
