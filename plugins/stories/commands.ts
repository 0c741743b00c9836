import { Flags } from "@oclif/core";
import { BaseCommand } from "../../src/cli/base.ts";
import { untilInterrupted } from "../../src/cli/interrupt.ts";
import { createProgress } from "../../src/cli/progress.ts";
import type { Cleanup } from "./cleanup.ts";

export class StoriesCleanup extends BaseCommand {
  static override summary = "remove stories that are over and not kept, with their pictures, while serving";
  static override description =
    "A worker does the same every hour. Several at once share the work; interrupted or killed it leaves nothing that the next does not find. Rows go here, pictures by jobs: that the media store is down is no failure. Exits 0 also where there is nothing to do.";
  static override examples = [
    "<%= config.bin %> stories cleanup --dry-run",
    "<%= config.bin %> stories cleanup --grace 6h --limit 10000 --json",
  ];
  static override flags = {
    "dry-run": Flags.boolean({ description: "only say what would be removed", default: false }),
    grace: Flags.string({
      description:
        "leave what has been over for less than this (30m, 1h, 7d); TINTYPE_STORIES_CLEANUP_GRACE unless told",
    }),
    limit: Flags.integer({ description: "take so many stories at most", min: 1 }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(StoriesCleanup);
    const dryRun = flags["dry-run"];
    const grace = flags.grace === undefined ? undefined : this.duration("grace", flags.grace);
    const { cleanUp, rehearseCleanup } = await import("./cleanup.ts");
    const progress = createProgress();
    const begun = performance.now();
    const said = ({ deleted_records, deleted_media }: Pick<Cleanup, "deleted_records" | "deleted_media">) =>
      `${dryRun ? "Would remove" : "Removed"} ${deleted_records} ${deleted_records === 1 ? "story" : "stories"} and ${deleted_media} ${deleted_media === 1 ? "picture" : "pictures"}.`;
    let soFar: Pick<Cleanup, "deleted_records" | "deleted_media"> = { deleted_records: 0, deleted_media: 0 };
    const left = () => `${said(soFar)} What it was not done with is done by the next.`;
    const cleanup = await untilInterrupted(left, (signal) =>
      this.withContext(flags, (context) => {
        const opened = performance.now();
        return (dryRun ? rehearseCleanup : cleanUp)(context, {
          grace: grace ?? context.config.stories.cleanup_grace,
          limit: flags.limit,
          signal,
          onProgress: (done) => {
            soFar = { ...done };
            const rate = Math.round((done.deleted_records * 1_000) / (performance.now() - opened));
            progress.say(`${dryRun ? "counting" : "cleaning up"} stories: ${done.deleted_records}, ${rate} a second`);
          },
        });
      }),
    ).finally(progress.end);
    const { deleted_media, deleted_records, skipped } = cleanup;
    this.log(said(cleanup));
    if (skipped > 0) this.log(`${skipped} are in the hands of others; what they leave is done by the next.`);
    return { deleted_media, deleted_records, skipped, duration_ms: Math.round(performance.now() - begun) };
  }
}
