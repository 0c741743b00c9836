import { Flags } from "@oclif/core";
import { BaseCommand } from "../../src/cli/base.ts";
import { untilInterrupted } from "../../src/cli/interrupt.ts";
import { createProgress } from "../../src/cli/progress.ts";
import type { Context } from "../../src/context.ts";
import { ConfigError } from "../../src/errors.ts";
import type { RedisStore } from "../../src/redis/redis.ts";
import type { Difference } from "./verify.ts";

/** Differences that one JSON document lists; people are shown each. */
const MOST_LISTED = 100_000;

const user = Flags.string({ description: "only this account's", helpValue: "NAME" });

interface Given {
  context: Context & { redis: RedisStore };
  /** Of the account that --user names. */
  userId: string | null;
  signal: AbortSignal;
}

/** Commands that look at what lies in Redis. */
abstract class FanOutCommand extends BaseCommand {
  /** @param left what is so when it is interrupted. */
  protected async withRedis<T>(
    flags: { config?: string | undefined; user?: string | undefined },
    left: string,
    work: (given: Given) => Promise<T>,
  ): Promise<T> {
    return untilInterrupted(left, (signal) =>
      this.withContext(flags, async (context) => {
        const { redis } = context;
        if (redis === null) {
          throw new ConfigError("no Redis is configured, so there are no timelines", {
            hint: "Set TINTYPE_REDIS_URL to the one that the servers use.",
          });
        }
        await redis.ping();
        const { requireAccount } = await import("../accounts/index.ts");
        const userId = flags.user === undefined ? null : (await requireAccount(context.db, flags.user)).id;
        return work({ context: { ...context, redis }, userId, signal });
      }),
    );
  }
}

export class FanOutVerify extends FanOutCommand {
  static override summary = "hold the timelines in Redis against Postgres, while serving";
  static override description =
    "Prints each difference: a post that is missing, or a stray that does not belong there. Lists of authors that are pulled are looked at too; their viewer is the author. What people change meanwhile is no difference, nor is a post whose jobs have not ended. Exits 1 on any difference; `fanout rebuild` mends them.";
  static override examples = ["<%= config.bin %> fanout verify", "<%= config.bin %> fanout verify --user ana"];
  static override flags = { user };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(FanOutVerify);
    const [{ verifyTimelines }, { namesOf }] = await Promise.all([import("./verify.ts"), import("./verify-store.ts")]);
    const progress = createProgress();
    const differences: Difference[] = [];
    let total = 0;
    const verified = await this.withRedis(flags, "Nothing was changed.", ({ context, userId, signal }) =>
      verifyTimelines(context, {
        userId,
        signal,
        onProgress: (looked) => progress.say(`looking at timelines: ${looked}`),
        onDifferences: async (found) => {
          total += found.length;
          const listed = this.jsonEnabled() ? found.slice(0, MOST_LISTED - differences.length) : [];
          differences.push(...listed);
          progress.end();
          if (this.jsonEnabled()) return;
          const names = await namesOf(context.db, [...new Set(found.map(({ viewer }) => viewer))]);
          for (const { viewer, post_id, kind } of found) {
            const name = names.get(viewer);
            this.log(`${kind.padEnd(7)}  post ${post_id}  of ${viewer}${name ? ` (${name})` : ""}`);
          }
        },
      }),
    ).finally(progress.end);
    const { timelines, entries, unsettled } = verified;
    if (unsettled > 0) {
      this.logToStderr(`${unsettled} entries are left out: their jobs have not ended (\`tintype jobs status\`).`);
    }
    if (this.jsonEnabled() && total > differences.length) {
      this.logToStderr(`${total} differences; only the first ${differences.length} are listed.`);
    }
    this.log(
      `${timelines} ${timelines === 1 ? "timeline" : "timelines"} with ${entries} entries: ` +
        (total === 0 ? "as Postgres has them." : `${total} ${total === 1 ? "difference" : "differences"}.`),
    );
    if (total > 0) process.exitCode = 1;
    return { timelines, entries, differences };
  }
}

export class FanOutRebuild extends FanOutCommand {
  static override summary = "build timelines in Redis anew from Postgres, while serving";
  static override description =
    "Those of everybody who was seen within 7 days. It may be interrupted or killed, and goes on there when it is run again. Nobody has to: whatever is not there is built when it is read.";
  static override examples = ["<%= config.bin %> fanout rebuild", "<%= config.bin %> fanout rebuild --user ana"];
  static override flags = {
    user,
    restart: Flags.boolean({
      description: "begin at the first account, also where one was interrupted",
      default: false,
      exclusive: ["user"],
    }),
    "dry-run": Flags.boolean({ description: "only say how many would be built", default: false }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(FanOutRebuild);
    const dryRun = flags["dry-run"];
    const { restart } = flags;
    const { rebuildTimelines, rebuildTimelinesOf } = await import("./rebuild.ts");
    const progress = createProgress();
    const left = "What is built stays. Run it again, and it goes on there.";
    const { rebuilt, skipped, resumed } = await this.withRedis(flags, left, ({ context, userId, signal }) =>
      userId === null
        ? rebuildTimelines(context, {
            dryRun,
            restart,
            signal,
            onProgress: (looked, total) => progress.part("rebuilding timelines, accounts", looked, total),
            onResumed: ({ started_at, rebuilt }) =>
              this.logToStderr(
                `Going on with the rebuild of ${started_at.toISOString()}, which came to ${rebuilt} accounts; --restart begins anew.`,
              ),
          })
        : rebuildTimelinesOf(context, userId, { dryRun, signal }),
    ).finally(progress.end);
    this.log(
      `${dryRun ? "Would rebuild" : "Rebuilt"} the timelines of ${rebuilt} ${rebuilt === 1 ? "account" : "accounts"}.`,
    );
    if (skipped > 0) this.log(`${skipped} changed meanwhile; they are built when they are read.`);
    return { rebuilt, skipped, dry_run: dryRun, resumed };
  }
}

export class FanOutStatus extends FanOutCommand {
  static override summary = "how many timelines lie in Redis, what they take, who is pulled, and what waits";
  static override description =
    "Of more than 1000 timelines entries and bytes are estimates, from 1000 that are drawn at random.";

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(FanOutStatus);
    const { fanOutStatus } = await import("./status.ts");
    const status = await this.withRedis(flags, "Nothing was changed.", ({ context, signal }) =>
      fanOutStatus(context, signal),
    );
    const { timelines, author_lists, entries, bytes, sampled, celebrities, backlog, redis, epoch } = status;
    const about = sampled === null ? "" : "about ";
    const { mode, masters } = redis;
    const lines = {
      redis: `${redis.version}, ${mode === "cluster" ? `a cluster of ${masters} masters` : "a single server"}`,
      epoch,
      timelines: String(timelines),
      entries: `${about}${entries}`,
      size: `${about}${bytes} bytes`,
      "authors' lists": String(author_lists),
      backlog: `${backlog.jobs} jobs${backlog.oldest_seconds === null ? "" : `, the oldest waits ${Math.round(backlog.oldest_seconds)} s`}`,
      celebrities: String(celebrities.count),
    };
    for (const [name, value] of Object.entries(lines)) this.log(`${name.padEnd(16)} ${value}`);
    if (celebrities.count > 0) this.table(celebrities.top, ["username", "follower_count", "pulled_since"]);
    return status;
  }
}
