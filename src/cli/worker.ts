import { BaseCommand } from "./base.ts";
import { allFeatures, featuresOf } from "./program.ts";

export class Worker extends BaseCommand {
  static override summary = "take background jobs, beside one or more servers";
  static override description =
    "For a database of one's own (TINTYPE_DATABASE_URL): there `serve` leaves jobs to workers unless TINTYPE_WORKER_EMBEDDED says otherwise.";

  override async run(): Promise<void> {
    const { flags } = await this.parse(Worker);
    const loaded = await this.loadConfig(flags);
    const { worker } = await import("../processes/worker.ts");
    const code = await worker(loaded, { features: featuresOf(loaded), allFeatures: allFeatures() });
    if (this.jsonEnabled()) this.logJson({ stopped: true, clean: code === 0 });
    // A socket to a dependency that hangs must not keep a process that is done.
    process.exit(code);
  }
}
