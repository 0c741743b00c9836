import { Flags } from "@oclif/core";
import { BenchCommand } from "../../../src/cli/bench.ts";

export class BenchLikes extends BenchCommand {
  static override summary = "measure likes of one post by everybody against likes that are spread over many posts";
  static override description =
    "Starts two servers, each with an embedded Postgres of its own, on the loopback address, the second with a limit of likes " +
    "that nobody reaches, and removes both afterwards. Every like is a new one.";
  static override examples = ["<%= config.bin %> bench likes", "<%= config.bin %> bench likes --likers 1000 --json"];
  static override flags = {
    likers: Flags.integer({ description: "who like, once in each measurement", default: 2_000, min: 10, max: 5_000 }),
    pairs: Flags.integer({ description: "measurements of each in turn", default: 10, min: 1, max: 100 }),
    connections: Flags.integer({ description: "connections of the client", default: 32, min: 1, max: 1_000 }),
    seed: Flags.integer({ description: "the same seed makes the same data set", default: 1, min: 0 }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(BenchLikes);
    const { benchLikes } = await import("./likes.ts");
    const report = await benchLikes({
      ...flags,
      executable: process.argv[1] ?? "",
      log: (line) => this.logToStderr(line),
    });
    return this.report(report, flags);
  }
}
