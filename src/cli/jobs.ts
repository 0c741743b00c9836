import { Args, Flags } from "@oclif/core";
import { OperationError } from "../errors.ts";
import { BaseCommand } from "./base.ts";

const queueFlag = Flags.string({ description: "only jobs of this queue, such as media.process", helpValue: "NAME" });

export class JobsStatus extends BaseCommand {
  static override summary = "how many jobs wait, run and failed, by queue";

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(JobsStatus);
    const { jobStatus } = await import("../jobs/admin.ts");
    const queues = await this.withContext(flags, ({ db }) => jobStatus(db));
    this.table(queues, ["queue", "waiting", "retrying", "active", "completed", "failed", "oldest_seconds"]);
    return { queues };
  }
}

export class JobsList extends BaseCommand {
  static override summary = "the latest jobs, or with --failed the dead letters";
  static override flags = {
    failed: Flags.boolean({ description: "only jobs whose last try failed", default: false }),
    queue: queueFlag,
    limit: Flags.integer({ description: "how many at most", default: 50, min: 1, max: 10_000 }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(JobsList);
    const { assertQueue, listJobs } = await import("../jobs/admin.ts");
    const { failed, limit, queue } = flags;
    const jobs = await this.withContext(flags, async ({ db }) => {
      await assertQueue(db, queue);
      return listJobs(db, { failed, limit, ...(queue ? { queue } : {}) });
    });
    this.table(jobs, ["id", "queue", "state", "attempts", "created_at", "reason", "data"]);
    return { jobs };
  }
}

export class JobsRetry extends BaseCommand {
  static override summary = "put failed jobs back into their queues";
  static override examples = [
    "<%= config.bin %> jobs retry 0198f0a4-…",
    "<%= config.bin %> jobs retry --all --queue media.process",
  ];
  static override strict = false;
  static override args = { id: Args.string({ description: "ids, as `jobs list --failed` shows them" }) };
  static override flags = {
    all: Flags.boolean({ description: "every failed job", default: false }),
    queue: queueFlag,
  };

  override async run(): Promise<unknown> {
    const { flags, argv } = await this.parse(JobsRetry);
    const ids = [...new Set(argv.map(String))];
    if (flags.all === ids.length > 0) this.error("Name the jobs to retry, or say --all.", { exit: 2 });
    const wrong = ids.find((id) => !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id));
    if (wrong !== undefined)
      this.error(`${wrong} is not the id of a job; \`jobs list --failed\` shows them.`, { exit: 2 });
    const { assertQueue, retryJobs } = await import("../jobs/admin.ts");
    const retried = await this.withContext(flags, async ({ db, queue }) => {
      await assertQueue(db, flags.queue);
      return retryJobs(queue, { ids: flags.all ? undefined : ids, queue: flags.queue });
    });
    if (retried < ids.length) {
      throw new OperationError(
        `${ids.length - retried} of ${ids.length} jobs are not among the failed; ${retried} were retried`,
        {
          hint: "`tintype jobs list --failed` shows what can be retried.",
        },
      );
    }
    this.log(`${retried} ${retried === 1 ? "job" : "jobs"} will run again.`);
    return { retried };
  }
}

export class JobsPurge extends BaseCommand {
  static override summary = "delete failed jobs for good";
  static override flags = {
    "older-than": Flags.string({ description: "only those that failed longer ago than this (24h, 7d)", default: "0s" }),
    queue: queueFlag,
    "dry-run": Flags.boolean({ description: "only say how many would be deleted", default: false }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(JobsPurge);
    const olderThanMs = this.duration("older-than", flags["older-than"]);
    const { assertQueue, purgeJobs } = await import("../jobs/admin.ts");
    const dryRun = flags["dry-run"];
    const purged = await this.withContext(flags, async ({ db }) => {
      await assertQueue(db, flags.queue);
      return purgeJobs(db, { olderThanMs, queue: flags.queue, dryRun });
    });
    this.log(`${dryRun ? "Would delete" : "Deleted"} ${purged} failed ${purged === 1 ? "job" : "jobs"}.`);
    return { purged, dry_run: dryRun };
  }
}
