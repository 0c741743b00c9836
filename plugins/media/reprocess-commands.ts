import { Flags } from "@oclif/core";
import { BaseCommand } from "../../src/cli/base.ts";
import { untilInterrupted } from "../../src/cli/interrupt.ts";
import { createProgress } from "../../src/cli/progress.ts";

export class MediaReprocess extends BaseCommand {
  static override summary = "have the renditions of pictures made again from their originals, behind all uploads";
  static override description =
    "Pictures are shown as they are until their new renditions are there. Those without an original are skipped.";
  static override examples = [
    "<%= config.bin %> media reprocess --since 30d --dry-run",
    "<%= config.bin %> media reprocess --failed",
  ];
  static override flags = {
    since: Flags.string({ description: "only those uploaded since then: a date, a time, or how long ago (7d)" }),
    kind: Flags.option({ description: "only those of this kind", options: ["post", "avatar", "story"] as const })(),
    failed: Flags.boolean({ description: "those that have failed, instead of those that are ready", default: false }),
    user: Flags.string({ description: "only media of this account", helpValue: "NAME" }),
    limit: Flags.integer({ description: "how many at most (default all)", min: 1 }),
    "dry-run": Flags.boolean({ description: "only say how many there are", default: false }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(MediaReprocess);
    const { failed, kind = null, limit = Number.POSITIVE_INFINITY, user } = flags;
    const since = flags.since === undefined ? null : this.moment("since", flags.since);
    const dryRun = flags["dry-run"];
    const [{ reprocessMedia }, { ownerNamed }] = await Promise.all([import("./reprocess.ts"), import("./owners.ts")]);
    const progress = createProgress();
    const report = await untilInterrupted("What was enqueued is done all the same.", (signal) =>
      this.withContext(flags, async (context) => {
        const selection = { ownerId: await ownerNamed(context.db, user), kind, since, failed };
        return reprocessMedia({ context, selection, limit, dryRun, signal, progress: progress.say });
      }),
    ).finally(progress.end);
    const { enqueued, skipped } = report;
    this.log(`${enqueued} ${enqueued === 1 ? "picture" : "pictures"} ${dryRun ? "would" : "will"} be processed again.`);
    const { original_dropped, original_missing, under_way } = skipped;
    this.log(
      `Skipped: ${original_dropped} whose original was given up, ${original_missing} whose original is missing, ${under_way} under way.`,
    );
    return { ...report, dry_run: dryRun };
  }
}
