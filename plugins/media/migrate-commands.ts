import { Flags } from "@oclif/core";
import { BaseCommand } from "../../src/cli/base.ts";
import { untilInterrupted } from "../../src/cli/interrupt.ts";
import { createProgress } from "../../src/cli/progress.ts";
import { ConfigError } from "../../src/errors.ts";

const STORES = ["filesystem", "s3"] as const;
/** Keys that a person is shown. */
const SHOWN = 20;

export class MediaMigrate extends BaseCommand {
  static override summary = "copy all media to another store, while serving";
  static override description =
    "Before it, every `serve` and `worker` runs with the new store as `media.store` and the old one as `media.migrate_from`. Each object is read back from the new store and compared. It may be interrupted and run again, and goes on where it was. When it exits 0, unset `media.migrate_from`. The old store keeps what it has.\n\n" +
    "Exits 1 if an object cannot be read, or is not what its row says: these are named and not copied. So it does if in the end the new store lacks an object that a row stands for, or has it in another size: these are named as missing.";
  static override examples = ["<%= config.bin %> media migrate --from filesystem --to s3"];
  static override flags = {
    from: Flags.option({ description: "the old store", options: STORES, required: true })(),
    to: Flags.option({ description: "the new store", options: STORES, required: true })(),
    verify: Flags.boolean({ description: "compare also what is there already, by hash", default: false }),
    damaged: Flags.boolean({ description: "copy also what is not what its row says, as it is", default: false }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(MediaMigrate);
    const { from, to, verify, damaged } = flags;
    if (from === to) this.error("--from and --to are the same store.", { exit: 2 });
    const [{ openStore }, { copyObjects }, { hashesOf }, { missingIn }] = await Promise.all([
      import("../../src/deps.ts"),
      import("../../src/drivers/media/copying.ts"),
      import("./standing.ts"),
      import("./moved.ts"),
    ]);
    const started = performance.now();
    const progress = createProgress();
    const report = await untilInterrupted("What was copied stays; run it again.", (signal) =>
      this.withContext(flags, async ({ config, db }) => {
        const { store, migrate_from } = config.media;
        if (store !== to || migrate_from !== from) {
          throw new ConfigError(`media are not being moved from ${from} to ${to}`, {
            hint: `Set TINTYPE_MEDIA_STORE=${to} and TINTYPE_MEDIA_MIGRATE_FROM=${from}, here and for every serve and worker, and restart those.`,
          });
        }
        const stores = await Promise.all([openStore(config, from), openStore(config, to)]);
        const [old, next] = stores;
        const work = { signal, progress: progress.say };
        try {
          const given = { config, verify, damaged, hashesOf: (keys: readonly string[]) => hashesOf(db, keys) };
          const copied = await copyObjects({ ...given, ...work, from: old, to: next });
          const { missing, keys } = await missingIn(next, { ...work, db });
          return { ...copied, missing, keys: { ...copied.keys, missing: keys } };
        } finally {
          await Promise.all(stores.map((each) => each.close()));
        }
      }),
    ).finally(progress.end);
    const { copied, copied_bytes, there, keys } = report;
    for (const [what, named] of Object.entries(keys)) {
      if (named.length === 0) continue;
      process.exitCode = 1;
      this.logToStderr(
        `Warning: ${report[what as keyof typeof keys]} ${what}:\n  ${named.slice(0, SHOWN).join("\n  ")}`,
      );
    }
    this.log(`Copied ${copied} objects, ${copied_bytes} bytes; ${there} were there already.`);
    if (process.exitCode === undefined) this.log("All is in the new store: media.migrate_from may be unset.");
    return { from, to, ...report, duration_ms: Math.round(performance.now() - started) };
  }
}
