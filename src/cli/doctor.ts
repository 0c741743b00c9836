import { BaseCommand } from "./base.ts";
import { allFeatures, featuresOf } from "./program.ts";

export class Doctor extends BaseCommand {
  static override summary = "check everything that tintype needs and say how to mend what is wrong";
  static override description =
    "Exits 4 when a dependency is down, 3 when the configuration is wrong, 1 for anything else.";

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(Doctor);
    const loaded = await this.loadConfig(flags);
    const [{ examine }, log] = await Promise.all([import("../doctor.ts"), this.createLog(loaded)]);
    const checks = await examine({
      config: loaded.config,
      log,
      features: featuresOf(loaded),
      allFeatures: allFeatures(),
    });
    for (const { name, state, message, mend } of checks) {
      this.log(`${{ ok: "ok  ", warning: "warn", failed: "FAIL" }[state]}  ${name}: ${message}`);
      if (mend) this.log(`      ${mend}`);
    }
    const failed = checks.filter((check) => check.state === "failed");
    if (failed.length > 0) process.exitCode = failed.some((check) => check.dependency) ? 4 : 1;
    return { ok: failed.length === 0, checks };
  }
}
