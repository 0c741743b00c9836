import { Args, Flags } from "@oclif/core";
import type { Logger } from "pino";
import type { Progress } from "../backup/progress.ts";
import type { BackupFile } from "../backup/reader.ts";
import type { Config } from "../config/schema.ts";
import { BaseCommand } from "./base.ts";
import { untilInterrupted } from "./interrupt.ts";
import { allFeatures } from "./program.ts";
import { createProgress } from "./progress.ts";

const REVIVED =
  "Note: what was revoked after the backup was made is good again: sessions, links that were mailed, keys of picture tickets. " +
  "If one of them was stolen: `tintype keys rotate --revoke`, and `tintype users reset-password` for the account.";

export class Restore extends BaseCommand {
  static override summary = "fill an empty database and media store from a file that `backup` wrote";
  static override description =
    "The whole file is verified before anything is touched. The target must be empty and nobody on it: stop `serve` first. It may be another kind of database than the backup's, and of another major version.\n\n" +
    "If it does not get to its end, nobody can start on what is half there; run it again.";
  static override examples = [
    "<%= config.bin %> restore /backups/tintype-2027-01-31.tar",
    "<%= config.bin %> restore --dry-run /backups/tintype-2027-01-31.tar",
  ];
  static override args = { file: Args.string({ required: true, description: "the backup" }) };
  static override flags = {
    "dry-run": Flags.boolean({ description: "only verify the file and say what it holds", default: false }),
  };

  override async run(): Promise<unknown> {
    const { flags, args } = await this.parse(Restore);
    const { file } = args;
    const dryRun = flags["dry-run"];
    const loaded = await this.loadConfig(flags);
    const [{ openBackup }, { assertSchemaKnown }, log] = await Promise.all([
      import("../backup/reader.ts"),
      import("../backup/target.ts"),
      this.createLog(loaded),
    ]);
    const started = performance.now();
    const progress = createProgress();
    const left = dryRun ? "Nothing was changed." : "If it had begun, run it again with the same file.";
    const { manifest, summary, size } = await untilInterrupted(left, async (signal) => {
      const source = await openBackup(file, {
        signal,
        onProgress: (done, size) => progress.say(`verifying: ${Math.floor((done / size) * 100)} %`),
      });
      try {
        await assertSchemaKnown(source.manifest);
        if (!dryRun) await fill(source, loaded.config, { log, signal, progress: progress.say });
      } finally {
        await source.close();
      }
      return source;
    }).finally(progress.end);
    const rows = Object.values(summary.tables).reduce((sum, count) => sum + count, summary.jobs);
    const { objects, missing, damaged, unreadable } = summary;
    this.log(`${file}: made ${manifest.created_at} by tintype ${manifest.application}, Postgres ${manifest.postgres}`);
    this.log(`${dryRun ? "Holds" : "Restored"} ${rows} rows, ${objects} objects, ${size} bytes.`);
    if (missing.length + damaged.length > 0) {
      this.logToStderr(
        `Warning: when it was made, ${missing.length} objects were missing, ${damaged.length} damaged; ` +
          `${unreadable.length} of these could not be read and are left out.`,
      );
    }
    if (!dryRun) this.logToStderr(REVIVED);
    return {
      file,
      bytes: size,
      created_at: manifest.created_at,
      application: manifest.application,
      schema: manifest.migrations.at(-1)?.version ?? 0,
      tables: Object.keys(summary.tables).length,
      rows,
      objects,
      missing,
      damaged,
      unreadable,
      dry_run: dryRun,
      duration_ms: Math.round(performance.now() - started),
    };
  }
}

/** Opens what the configuration names, without the looks at the schema that other commands have, and restores into it. */
async function fill(
  source: BackupFile,
  config: Config,
  { log, ...options }: { log: Logger; signal: AbortSignal; progress: Progress },
): Promise<void> {
  const [{ openDatabase }, { openMediaStore }, { restore }, { assertNotForeign, assertOwnDataDir }] = await Promise.all(
    [import("../db/database.ts"), import("../deps.ts"), import("../backup/restore.ts"), import("../backup/target.ts")],
  );
  await assertOwnDataDir(config.data_dir);
  const database = await openDatabase({ config, log, role: "command" });
  try {
    await assertNotForeign(database.pool);
    const media = await openMediaStore(config);
    try {
      await restore(source, { database, media, config, log, allFeatures: allFeatures() }, options);
    } finally {
      await media.close();
    }
  } finally {
    await database.close();
  }
}
