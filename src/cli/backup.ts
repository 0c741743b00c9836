import { Args, Flags } from "@oclif/core";
import { BaseCommand } from "./base.ts";
import { untilInterrupted } from "./interrupt.ts";
import { createProgress } from "./progress.ts";

export class Backup extends BaseCommand {
  static override summary = "write everything, accounts, posts, media and waiting jobs, to one file, while serving";
  static override description =
    "The file gets its name when it is complete; where anything fails there is none. It holds passwords' hashes and private pictures: only its owner may read it.\n\n" +
    "Exits 0 only if every object was there and is what its row says. Otherwise it names those that are missing, damaged or cannot be read and exits 1; the file is kept, and holds all the rest.";
  static override examples = ["<%= config.bin %> backup /backups/tintype-$(date +%F).tar"];
  static override args = { file: Args.string({ required: true, description: "the file to write" }) };
  static override flags = {
    force: Flags.boolean({
      description: "replace the file if it is there, when the new one is complete",
      default: false,
    }),
  };

  override async run(): Promise<unknown> {
    const { flags, args } = await this.parse(Backup);
    const { backup } = await import("../backup/backup.ts");
    const progress = createProgress();
    const report = await untilInterrupted("There is no file.", (signal) =>
      this.withDeps(flags, ({ context, database }) =>
        backup({
          context,
          connection: database.connection,
          file: args.file,
          force: flags.force,
          signal,
          progress: progress.say,
        }),
      ),
    ).finally(progress.end);
    const unreadable = new Set(report.unreadable);
    for (const [what, keys] of [
      ["missing", report.missing],
      ["damaged", report.damaged.filter((key) => !unreadable.has(key))],
      ["not to be read, so a restore leaves them out", report.unreadable],
    ] as const) {
      if (keys.length === 0) continue;
      process.exitCode = 1;
      this.logToStderr(
        `Warning: ${keys.length} ${keys.length === 1 ? "object is" : "objects are"} ${what}:\n  ${keys.join("\n  ")}`,
      );
    }
    this.log(`${report.file}: ${report.rows} rows, ${report.objects} objects, ${report.bytes} bytes`);
    return report;
  }
}
