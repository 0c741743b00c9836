import { Flags } from "@oclif/core";
import { BaseCommand } from "./base.ts";
import { allFeatures } from "./program.ts";

export class Migrate extends BaseCommand {
  static override summary = "bring the database's schema up to date";
  static override description =
    "Also makes the bucket of an S3 store. Safe to run twice and from several machines at once. With the embedded Postgres `serve` does it by itself.";
  static override flags = {
    status: Flags.boolean({ description: "only show what is applied; exits 1 when something is missing" }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(Migrate);
    const loaded = await this.loadConfig(flags);
    const [{ openDatabase }, { migrationStatus }, { installMedia, migrateAll }, log] = await Promise.all([
      import("../db/database.ts"),
      import("../db/migrator.ts"),
      import("../deps.ts"),
      this.createLog(loaded),
    ]);
    const database = await openDatabase({ config: loaded.config, log, role: "command" });
    try {
      if (flags.status) {
        const migrations = await migrationStatus(database.connection);
        if (migrations.some((migration) => migration.applied_at === null)) process.exitCode = 1;
        this.table(migrations, ["version", "name", "applied_at"]);
        return { migrations };
      }
      const applied = await migrateAll(database, allFeatures(), { log });
      await installMedia(loaded.config, { make: true });
      this.log(applied.length === 0 ? "The schema is up to date." : `Applied ${applied.join(", ")}.`);
      return { applied };
    } finally {
      await database.close();
    }
  }
}
