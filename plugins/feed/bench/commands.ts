import { Flags } from "@oclif/core";
import { refusalOfTarget } from "../../../src/bench/target.ts";
import { BenchCommand } from "../../../src/cli/bench.ts";

const TARGET_FLAGS = {
  target: Flags.string({
    description: "origin of a running server to measure instead of one of its own",
    helpValue: "URL",
  }),
  "i-own-this-target": Flags.string({
    description: "the host of --target, where that is not this machine",
    helpValue: "HOST",
    dependsOn: ["target"],
  }),
};

const seed = Flags.integer({
  description: "the same seed makes the same data set and the same load",
  default: 1,
  min: 0,
});

/** Commands that measure a server of their own, or another that may be measured. */
abstract class TargetBench extends BenchCommand {
  /** @returns the origin of the target; null if there is none. Ends with 2 where load must not be sent to it. */
  protected targetOf(flags: { target?: string | undefined; "i-own-this-target"?: string | undefined }): string | null {
    if (flags.target === undefined) return null;
    const refusal = refusalOfTarget(flags.target, flags["i-own-this-target"]);
    if (refusal !== null) this.error(refusal, { exit: 2 });
    return new URL(flags.target).origin;
  }

  protected readonly say = (line: string): void => this.logToStderr(line);
}

export class BenchFeed extends TargetBench {
  static override summary = "measure pages of the home feed against bare routes, and deep pages against the first";
  static override description =
    "Starts a server, a Redis and an embedded Postgres of its own on the loopback address, loads a data set, and removes all of " +
    "it afterwards; needs redis-server on the PATH. With --target it measures another server and loads nothing into its " +
    "database: it registers --accounts accounts, named bench…, which post and follow each other, and has them deleted in the " +
    "end. What it leaves are their names, reserved for as long as those of all deleted accounts, and what an interrupted run " +
    "could not delete. It then knows one reference only, the bare route.";
  static override examples = [
    "<%= config.bin %> bench feed",
    "<%= config.bin %> bench feed --users 5000 --posts 50000 --json",
    "<%= config.bin %> bench feed --target http://127.0.0.1:3000",
  ];
  static override flags = {
    users: Flags.integer({ description: "accounts", default: 20_000, min: 50, max: 1_000_000 }),
    posts: Flags.integer({ description: "posts", default: 200_000, min: 50, max: 5_000_000 }),
    following: Flags.integer({ description: "whom each account follows", default: 50, min: 1, max: 1_000 }),
    follows: Flags.option({
      description: "how followers and posts are parted among authors",
      options: ["zipf", "even"] as const,
      default: "zipf" as const,
    })(),
    celebrities: Flags.integer({
      description: "authors whose posts are pulled on read",
      default: 5,
      min: 0,
      max: 1_000,
    }),
    seed,
    viewers: Flags.integer({ description: "who ask, by Zipf's law", default: 1_000, min: 10, max: 100_000 }),
    pairs: Flags.integer({ description: "measurements of each in turn", default: 7, min: 1, max: 100 }),
    duration: Flags.string({ description: "length of a measurement", default: "4s" }),
    connections: Flags.integer({ description: "connections of the client", default: 32, min: 1, max: 1_000 }),
    accounts: Flags.integer({ description: "accounts to register with --target", default: 20, min: 2, max: 200 }),
    ...TARGET_FLAGS,
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(BenchFeed);
    const target = this.targetOf(flags);
    const seconds = this.duration("duration", flags.duration) / 1000;
    if (!(seconds > 0)) this.error("--duration must be more than nothing.", { exit: 2 });
    const options = { ...flags, seconds, executable: process.argv[1] ?? "", log: this.say };
    if (target !== null) {
      const { benchTargetFeed } = await import("./target-feed.ts");
      return this.report(await benchTargetFeed({ ...options, target }), flags);
    }
    const { benchFeed } = await import("./feed.ts");
    return this.report(await benchFeed(options), flags);
  }
}

export class BenchFanout extends TargetBench {
  static override summary = "measure how fast a post comes to the timelines of its author's followers";
  static override description =
    "Starts a server, a Redis and an embedded Postgres of its own on the loopback address and removes them afterwards; needs " +
    "redis-server and redis-benchmark on the PATH. With --target it measures another server and only how soon a post is in a " +
    "follower's feed: it registers --accounts accounts, named bench…, and has them deleted in the end. What it leaves are " +
    "their names, reserved for as long as those of all deleted accounts, and what an interrupted run could not delete.";
  static override examples = [
    "<%= config.bin %> bench fanout",
    "<%= config.bin %> bench fanout --followers 100000 --pairs 5 --json",
  ];
  static override flags = {
    followers: Flags.integer({
      description: "followers of the author, each with a live timeline",
      default: 20_000,
      min: 10,
      max: 1_000_000,
    }),
    posts: Flags.integer({ description: "posts of which a follower waits for each", default: 20, min: 1, max: 1_000 }),
    pairs: Flags.integer({ description: "fan-outs and runs of redis-benchmark in turn", default: 7, min: 1, max: 100 }),
    pushes: Flags.integer({
      description: "commands of one run of redis-benchmark",
      default: 500_000,
      min: 1_000,
      max: 100_000_000,
    }),
    accounts: Flags.integer({ description: "accounts to register with --target", default: 20, min: 2, max: 200 }),
    seed,
    ...TARGET_FLAGS,
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(BenchFanout);
    const target = this.targetOf(flags);
    const options = { ...flags, executable: process.argv[1] ?? "", log: this.say };
    if (target !== null) {
      const { benchTargetFanout } = await import("./target-fanout.ts");
      return this.report(await benchTargetFanout({ ...options, target }), flags);
    }
    const { benchFanout } = await import("./fanout.ts");
    return this.report(await benchFanout(options), flags);
  }
}
