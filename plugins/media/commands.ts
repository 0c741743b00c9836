import { Flags } from "@oclif/core";
import { BenchCommand } from "../../src/cli/bench.ts";

export class BenchUpload extends BenchCommand {
  static override summary = "measure uploads: how soon they are acknowledged and shown, and what the renditions cost";
  static override description =
    "Starts a server of its own on an empty data dir, on the loopback address, and removes it afterwards.";
  static override flags = {
    count: Flags.integer({ description: "photos to upload", default: 40, min: 1, max: 1_000 }),
    concurrency: Flags.integer({ description: "uploads at once", default: 2, min: 1, max: 32 }),
    photo: Flags.file({
      description: "a photo of one's own to measure with, instead of a synthetic one",
      exists: true,
    }),
    pairs: Flags.integer({ description: "pairs of renditions and reference", default: 15, min: 1, max: 200 }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(BenchUpload);
    const { benchUpload } = await import("./bench.ts");
    return this.report(
      await benchUpload({ ...flags, executable: process.argv[1] ?? "", log: (line) => this.logToStderr(line) }),
      flags,
    );
  }
}
