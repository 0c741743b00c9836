import { describeConfig } from "../config/docs.ts";
import { BaseCommand } from "./base.ts";
import { featuresOf } from "./program.ts";

export class ConfigShow extends BaseCommand {
  static override summary = "show every setting, its value and where that comes from; secrets are hidden";

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(ConfigShow);
    const loaded = await this.loadConfig(flags);
    const settings = describeConfig(loaded);
    this.table(settings, ["name", "value", "source", "env"]);
    return { file: loaded.file, settings };
  }
}

export class ConfigCheck extends BaseCommand {
  static override summary = "read the configuration and name every mistake in it; exits 3 if there is one";

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(ConfigCheck);
    const loaded = await this.loadConfig(flags);
    featuresOf(loaded);
    this.log(loaded.file ? `The configuration is right (file: ${loaded.file}).` : "The configuration is right.");
    return { ok: true, file: loaded.file, warnings: loaded.warnings };
  }
}
