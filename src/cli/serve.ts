import { Flags } from "@oclif/core";
import { BaseCommand } from "./base.ts";
import { allFeatures, featuresOf } from "./program.ts";

export class Serve extends BaseCommand {
  static override summary = "run the server: HTTP API, and with the embedded Postgres the worker too";
  static override description =
    "Ready when GET /readyz answers 200. SIGTERM or Ctrl-C lets what is in flight finish; a second one ends it at once.";
  static override examples = ["<%= config.bin %> serve", "<%= config.bin %> serve --host 0.0.0.0 --port 8080"];
  static override flags = {
    host: Flags.string({ description: "address to listen at (TINTYPE_HOST)" }),
    port: Flags.string({ description: "port to listen at, 0 picks a free one (TINTYPE_PORT)" }),
    "data-dir": Flags.string({ description: "embedded Postgres, media and staging (TINTYPE_DATA_DIR)" }),
  };

  override async run(): Promise<void> {
    const { flags } = await this.parse(Serve);
    const { config: _file, ...settings } = flags;
    const loaded = await this.loadConfig(flags, {
      host: settings.host,
      port: settings.port,
      "data-dir": settings["data-dir"],
    });
    const { serve } = await import("../processes/serve.ts");
    const code = await serve(loaded, { features: featuresOf(loaded), allFeatures: allFeatures() });
    if (this.jsonEnabled()) this.logJson({ stopped: true, clean: code === 0 });
    // A socket to a dependency that hangs must not keep a process that is done.
    process.exit(code);
  }
}
