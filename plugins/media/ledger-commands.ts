import { Flags } from "@oclif/core";
import { BaseCommand } from "../../src/cli/base.ts";
import { untilInterrupted } from "../../src/cli/interrupt.ts";
import { createProgress } from "../../src/cli/progress.ts";
import type { LedgerWork } from "./verify.ts";

/** Differences that a person is shown. */
const SHOWN = 20;

const olderThan = Flags.string({
  description: "leave alone what is younger than this (30m, 24h, 7d)",
  default: "24h",
});

/** Commands that lay rows and objects beside each other. */
abstract class LedgerCommand extends BaseCommand {
  protected async ledger<T>(
    flags: { config?: string | undefined; "older-than": string },
    work: (given: LedgerWork) => Promise<T>,
  ): Promise<T> {
    const age = this.duration("older-than", flags["older-than"]);
    const progress = createProgress();
    return untilInterrupted("What it was not done with is done by the next.", (signal) =>
      this.withDeps(flags, ({ context, database: { connection } }) =>
        work({ context, connection, age, signal, progress: progress.say }),
      ),
    ).finally(progress.end);
  }
}

export class MediaVerify extends LedgerCommand {
  static override summary = "compare what the rows say of media with what the store has, both ways, while serving";
  static override description =
    "Finds objects that are missing, that no row stands for, or whose size or hash is not what their row says. Exits 1 on any difference.";
  static override examples = [
    "<%= config.bin %> media verify",
    "<%= config.bin %> media verify --all-hashes --older-than 1h",
  ];
  static override flags = {
    "older-than": olderThan,
    sample: Flags.string({
      description: "the share of all objects that is read and hashed, at least 1000 of them; 0 reads none",
      default: "0.01",
      helpValue: "SHARE",
      exclusive: ["all-hashes"],
    }),
    "all-hashes": Flags.boolean({ description: "read and hash every object", default: false }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(MediaVerify);
    const share = flags["all-hashes"] ? 1 : Number(flags.sample);
    if (flags.sample.trim() === "" || !(share >= 0 && share <= 1)) {
      this.error("--sample wants a number from 0 to 1, such as 0.01.", { exit: 2 });
    }
    const { verifyMedia } = await import("./verify.ts");
    const report = await this.ledger(flags, (given) => verifyMedia({ ...given, share }));
    const { counts, differences, found, found_bytes, hashed, known } = report;
    for (const { kind, key, expected_bytes, found_bytes } of differences.slice(0, SHOWN)) {
      const sizes = kind === "wrong_size" ? ` (${found_bytes} bytes, not ${expected_bytes})` : "";
      this.logToStderr(`${kind.replace("_", " ")}: ${key}${sizes}`);
    }
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    if (total > SHOWN) this.logToStderr(`and ${total - SHOWN} more; --json lists them`);
    this.log(`${known} objects known, ${found} found (${found_bytes} bytes), ${hashed} read and hashed.`);
    this.log(
      report.ok
        ? "Rows and objects agree."
        : `${counts.missing} missing, ${counts.orphan} without a row, ${counts.wrong_size} of a wrong size, ` +
            `${counts.wrong_hash} with a wrong hash, ${counts.unreadable} unreadable.`,
    );
    if (!report.ok) process.exitCode = 1;
    return report;
  }
}

export class MediaRemoveOrphans extends LedgerCommand {
  static override summary = "remove objects that no row stands for, while serving";
  static override description =
    "Killed processes leave such, and stores that answer too late. What an upload or a job is still at is none. It may be interrupted and run again.";
  static override flags = {
    "older-than": olderThan,
    "dry-run": Flags.boolean({ description: "only say how many would be removed", default: false }),
    force: Flags.boolean({
      description: "also where they are more than half of all objects, as with the database of another service",
      default: false,
    }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(MediaRemoveOrphans);
    const dryRun = flags["dry-run"];
    const { removeOrphans } = await import("./orphans.ts");
    const report = await this.ledger(flags, (given) => removeOrphans({ ...given, dryRun, force: flags.force }));
    const { removed, bytes, kept_for_backup } = report;
    this.log(
      `${dryRun ? "Would remove" : "Removed"} ${removed} ${removed === 1 ? "object" : "objects"}, ${bytes} bytes.`,
    );
    if (kept_for_backup > 0)
      this.log(`${kept_for_backup} stay for the backup that is running; run it again afterwards.`);
    return { ...report, dry_run: dryRun };
  }
}
