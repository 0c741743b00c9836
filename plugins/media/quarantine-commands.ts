import { Flags } from "@oclif/core";
import { BaseCommand } from "../../src/cli/base.ts";
import { OperationError } from "../../src/errors.ts";

export class MediaQuarantine extends BaseCommand {
  static override summary = "list the contents that are decoded no more, or let one be tried again";
  static override description =
    "A picture that crashed, stalled or swelled three decoders, or took two workers down, is in quarantine by its SHA-256, whoever uploads it.";
  static override examples = [
    "<%= config.bin %> media quarantine",
    "<%= config.bin %> media quarantine --release 9f86d081884c7d65… --dry-run",
  ];
  static override flags = {
    all: Flags.boolean({
      description: "also those that were hard on a decoder less often",
      exclusive: ["release"],
    }),
    release: Flags.string({ description: "let this content be decoded again", helpValue: "SHA256" }),
    "dry-run": Flags.boolean({
      description: "only say what would be released",
      dependsOn: ["release"],
    }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(MediaQuarantine);
    if (flags.release !== undefined) return this.release(flags, flags.release.toLowerCase(), flags["dry-run"] === true);
    const { knownContents } = await import("./quarantine-store.ts");
    const contents = await this.withContext(flags, ({ db }) => knownContents(db, flags.all ? "all" : "quarantined"));
    this.table(contents, ["sha256", "quarantined", "crashes", "losses", "media", "owners", "last_at", "reason"]);
    return { contents };
  }

  private async release(flags: { config?: string | undefined }, sha256: string, dryRun: boolean): Promise<unknown> {
    if (!/^[0-9a-f]{64}$/.test(sha256)) {
      this.error("--release wants the 64 hex digits that `media quarantine` shows.", { exit: 2 });
    }
    const { knownContents, releaseContent } = await import("./quarantine-store.ts");
    const hash = Buffer.from(sha256, "hex");
    const content = await this.withContext(flags, async ({ db }) => {
      const [known] = await knownContents(db, hash);
      if (known && (dryRun || (await releaseContent(db, hash)))) return known;
      throw new OperationError(`there is no ${sha256} in quarantine`, {
        hint: "`tintype media quarantine --all` lists what is known.",
      });
    });
    this.log(
      `${dryRun ? "Would release" : "Released"} ${sha256}: ${content.media} media of ${content.owners} accounts have it.`,
    );
    if (!dryRun) this.log("Those that failed are tried again by `tintype jobs retry`.");
    return { ...content, quarantined: dryRun && content.quarantined, dry_run: dryRun };
  }
}
