import t from "tap";
import { run } from "../support/server.ts";

t.test("bench upload measures against a reference in the same run", async (t) => {
  const { code, stdout } = await run(["bench", "upload", "--count", "2", "--pairs", "1", "--json"], {
    // A bench must not touch what the shell is configured for: this database is not there.
    TINTYPE_DATABASE_URL: "postgres://nobody@127.0.0.1:1/nothing",
  });
  t.equal(code, 0, "it measured, whether or not the goal holds");
  const report = JSON.parse(stdout);
  t.match(report, {
    bench: "upload",
    started_at: /^\d{4}-\d\d-\d\dT.*Z$/,
    machine: { cores: Number, node: /^24\./ },
    figures: { uploads: 2, acknowledged_p95_ms: Number, in_feed_when_idle_ms: Number },
  });
  const [renditions] = report.ratios;
  t.match(renditions, {
    name: "renditions_vs_decode_resize",
    value: Number,
    goal: 0.28,
    holds: renditions.value >= 0.28,
    reference: { name: String, value: Number, unit: "pictures/s" },
    measured: { value: Number, unit: "pictures/s" },
  });
  t.ok(Math.abs(renditions.measured.value / renditions.reference.value - renditions.value) < 0.02);
});
