import { Flags } from "@oclif/core";
import { BenchCommand } from "../../../src/cli/bench.ts";

export class BenchStories extends BenchCommand {
  static override summary = "measure views of stories that are written together against the same written one by one";
  static override description =
    "Starts a server with an embedded Postgres of its own on the loopback address, and removes it afterwards. Both ways use " +
    "the same statement, as many callers at once and as many connections to Postgres, and answer when the view is committed and on disk. Every view is a new one.";
  static override examples = [
    "<%= config.bin %> bench stories",
    "<%= config.bin %> bench stories --viewers 1000 --json",
  ];
  static override flags = {
    viewers: Flags.integer({
      description: "who look at all of five stories in each measurement",
      default: 400,
      min: 10,
      max: 5_000,
    }),
    pairs: Flags.integer({ description: "measurements of each in turn", default: 10, min: 1, max: 100 }),
    connections: Flags.integer({ description: "callers at once", default: 64, min: 1, max: 1_000 }),
    seed: Flags.integer({ description: "the same seed makes the same data set", default: 1, min: 0 }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(BenchStories);
    const { benchStories } = await import("./stories.ts");
    const report = await benchStories({
      ...flags,
      executable: process.argv[1] ?? "",
      log: (line) => this.logToStderr(line),
    });
    return this.report(report, flags);
  }
}
