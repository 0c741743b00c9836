import { isIP } from "node:net";
import { Args, Flags } from "@oclif/core";
import { BaseCommand } from "../../src/cli/base.ts";
import type { Context } from "../../src/context.ts";
import { ConfigError } from "../../src/errors.ts";
import type { LogName } from "./limiter.ts";
import type { Limit } from "./limits.ts";

const args = { user: Args.string({ description: "a user name" }) };
const address = Flags.string({
  description: "instead of an account, of an address or an IPv6 /64: what it was not signed in for",
  helpValue: "ADDRESS",
});

/** Whose limits are asked for. */
type Named = { user: string } | { address: string };

/** One limit of somebody. */
interface Log {
  limit: Limit;
  name: LogName;
  /** By which name or email guesses are counted, or in which session; null for all other limits. */
  of: string | null;
}

export class LimitsShow extends BaseCommand {
  static override summary = "how much of each limit an account or an address has used";
  static override description = "With Redis: without, each server keeps its limits in its own memory.";
  static override examples = [
    "<%= config.bin %> limits show ana",
    "<%= config.bin %> limits show --address 203.0.113.7",
  ];
  static override args = args;
  static override flags = { address };

  override async run(): Promise<unknown> {
    const { args, flags } = await this.parse(LimitsShow);
    const named = namedBy(this, args.user, flags.address);
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
        (await logsOf(context, named)).map(async ({ limit: { rule }, name, of }) => {
          const { used, resetAt } = await lookInRedis(redis, name, rule);
          return {
            limit: name.limit,
            of,
            most: rule.most,
            used,
            remaining: Math.max(0, rule.most - used),
            resets_at: used === 0 ? null : new Date(resetAt).toISOString(),
          };
        }),
      );
    });
    this.table(limits, ["limit", "of", "most", "used", "remaining", "resets_at"]);
    return { limits };
  }
}

export class LimitsReset extends BaseCommand {
  static override summary = "forget what an account or an address has used of its limits";
  static override description = "On all servers, with Redis or without.";
  static override examples = [
    "<%= config.bin %> limits reset ana",
    "<%= config.bin %> limits reset ana --action like",
    "<%= config.bin %> limits reset --address 2001:db8:0:7::/64",
  ];
  static override args = args;
  static override flags = {
    address,
    action: Flags.string({ description: "only this limit, as `limits show` names it", helpValue: "LIMIT" }),
    "dry-run": Flags.boolean({ description: "only say which would be reset", default: false }),
  };

  override async run(): Promise<unknown> {
    const { args, flags } = await this.parse(LimitsReset);
    const dryRun = flags["dry-run"];
    const named = namedBy(this, args.user, flags.address);
    const shown = "user" in named ? named.user : named.address;
    const { resetLimit } = await import("./limiter.ts");
    const reset = await this.withContext(flags, async (context) => {
      const all = (await logsOf(context, named)).map(({ name }) => name);
      const chosen = all.filter(({ limit }) => flags.action === undefined || limit === flags.action);
      if (chosen.length === 0) {
        const known = [...new Set(all.map(({ limit }) => limit))].join(", ") || "none: all are switched off";
        const which = flags.action === undefined ? "limit" : `limit ${flags.action}`;
        this.error(`There is no ${which} of ${shown}; there are ${known}.`, { exit: 2 });
      }
      if (!dryRun) for (const name of chosen) await resetLimit(context, name);
      return [...new Set(chosen.map(({ limit }) => limit))];
    });
    this.log(`${dryRun ? "Would reset" : "Reset"} ${reset.join(", ")} of ${shown}.`);
    return { reset, dry_run: dryRun };
  }
}

function namedBy(command: BaseCommand, user: string | undefined, given: string | undefined): Named {
  if ((user === undefined) === (given === undefined)) {
    command.error("Name an account, or an address with --address.", { exit: 2 });
  }
  if (user !== undefined) return { user };
  // As a takeout shows it.
  const text = given?.replace(/\/64$/, "") ?? "";
  if (isIP(text) === 0) command.error("--address wants an IPv4 or IPv6 address.", { exit: 2 });
  return { address: text };
}

/** The limits that are on, of the account or the address that was named. @throws 404 */
async function logsOf({ config, db }: Context, named: Named): Promise<Log[]> {
  const [{ accountLoginLimit, LIMIT_NAMES, limitOf }, { isOwnMachine, subjectOfAddress, subjectOfLogin }] =
    await Promise.all([import("./limits.ts"), import("./subjects.ts")]);
  const limits = LIMIT_NAMES.flatMap((name) => limitOf(config, name) ?? []);
  const logs = (by: Limit["by"], subject: string, of: string | null = null): Log[] =>
    limits.flatMap((limit) => (limit.by === by ? { limit, of, name: { limit: limit.name, subject } } : []));
  if ("address" in named) {
    const subject = subjectOfAddress(named.address);
    const others = isOwnMachine(named.address) ? [] : logs("address, but the machine's own", subject);
    return [...logs("address", subject), ...others];
  }
  const [{ requireAccount }, { sessionsOf }] = await Promise.all([
    import("../accounts/index.ts"),
    import("./store.ts"),
  ]);
  const { id, username, email } = await requireAccount(db, named.user);
  const guesses = accountLoginLimit(config);
  const byName = [username, email].flatMap((login): Log[] =>
    guesses ? [{ limit: guesses, of: login, name: { limit: guesses.name, subject: subjectOfLogin(login) } }] : [],
  );
  const bySession = (await sessionsOf(db, id)).flatMap((session) => logs("session", session, session));
  return [...logs("account", id), ...byName, ...bySession];
}
