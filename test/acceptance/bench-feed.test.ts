import { symlink } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { run, temporaryFolder } from "../support/server.ts";
import { redisService } from "../support/services.ts";

/** A bench must not touch what the shell is configured for: these are not there. */
const ELSEWHERE = {
  TINTYPE_DATABASE_URL: "postgres://nobody@127.0.0.1:1/nothing",
  TINTYPE_REDIS_URL: "redis://127.0.0.1:1",
};

interface Ratio {
  name: string;
  value: number;
  goal: number;
  at_most?: true;
  holds: boolean;
  reference: { name: string; value: number; unit: string };
  measured: { value: number; unit: string };
}

function assertRatio(t: Test, ratio: Ratio | undefined, expected: Pick<Ratio, "name" | "goal">): void {
  t.match(ratio, {
    ...expected,
    value: Number,
    reference: { name: String, value: Number, unit: String },
    measured: { value: Number, unit: String },
  });
  if (!ratio) return;
  const { value, goal, at_most, holds } = ratio;
  t.equal(holds, at_most ? value <= goal : value >= goal, expected.name);
  t.ok(value > 0, expected.name);
}

t.test("bench feed measures against its references in the same run", async (t) => {
  if (!(await redisService(t))) return;
  const sizes = ["--users=200", "--posts=1000", "--following=10", "--celebrities=2", "--viewers=50", "--connections=4"];
  const { code, stdout, stderr } = await run(
    ["bench", "feed", ...sizes, "--pairs=1", "--duration=200ms", "--json"],
    ELSEWHERE,
  );
  t.equal(code, 0, stderr);
  const report = JSON.parse(stdout);
  t.match(report, {
    bench: "feed",
    started_at: /^\d{4}-\d\d-\d\dT.*Z$/,
    machine: { cores: Number, node: /^24\./ },
    figures: {
      users: 200,
      rows_loaded_per_second: Number,
      open_p99_ms: Number,
      open_hit_share: Number,
      server_rss_mib: Number,
    },
  });
  t.equal(report.ratios.length, 3);
  assertRatio(t, report.ratios[0], { name: "feed_page_vs_buffer", goal: 0.25 });
  assertRatio(t, report.ratios[1], { name: "feed_page_vs_same_auth", goal: 0.7 });
  assertRatio(t, report.ratios[2], { name: "feed_deep_page_vs_first", goal: 1.3 });
});

t.test("bench fanout measures against redis-benchmark in the same run", async (t) => {
  if (!(await redisService(t))) return;
  const sizes = ["--followers=50", "--posts=1", "--pairs=1", "--pushes=1000"];
  const { code, stdout, stderr } = await run(["bench", "fanout", ...sizes, "--json"], ELSEWHERE);
  t.equal(code, 0, stderr);
  const report = JSON.parse(stdout);
  t.match(report, { bench: "fanout", figures: { followers: 50, published_to_feed_p99_ms: Number } });
  t.equal(report.ratios.length, 1);
  assertRatio(t, report.ratios[0], { name: "fanout_vs_redis_benchmark", goal: 0.7 });
});

t.test("load goes to nobody who has not asked for it", async (t) => {
  for (const bench of ["feed", "fanout"]) {
    const { code, stderr } = await run(["bench", bench, "--target", "http://photos.example"], {});
    t.equal(code, 2);
    t.match(stderr, /--i-own-this-target photos\.example/);
  }
  const { code, stderr } = await run(["bench", "feed", "--target", "http://127.0.0.1:1"], {});
  t.equal(code, 4);
  t.match(stderr, /http:\/\/127\.0\.0\.1:1 does not answer/);
});

t.test("without a Redis on the PATH it says what to install", async (t) => {
  const folder = await temporaryFolder(t);
  // What starts the program for a test.
  await symlink("/usr/bin/env", join(folder, "env"));
  const { code, stderr } = await run(["bench", "feed"], { PATH: folder });
  t.equal(code, 4);
  t.match(stderr, /redis-server is not on the PATH.*\n.*apt-get install redis-server/);
});
