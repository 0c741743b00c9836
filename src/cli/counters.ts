import { Flags } from "@oclif/core";
import type { WrongCounter } from "../counters.ts";
import { BaseCommand } from "./base.ts";
import { untilInterrupted } from "./interrupt.ts";
import { allFeatures } from "./program.ts";
import { createProgress } from "./progress.ts";

/** Wrong counters that JSON lists. */
const MOST_LISTED = 1_000;

export class CountersVerify extends BaseCommand {
  static override summary = "hold every counter against the rows that it counts, while serving";
  static override description =
    "Prints each counter that is wrong. What people change meanwhile is never called wrong: what differs is looked at again behind the locks of those who change it. Exits 1 where one is wrong and was not repaired.";
  static override examples = ["<%= config.bin %> counters verify", "<%= config.bin %> counters verify --repair"];
  static override flags = {
    repair: Flags.boolean({
      description:
        "also set right what is wrong, and remove what is left of deleted posts; without it nothing is changed",
      default: false,
    }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(CountersVerify);
    const [{ verifyCounters }, { openSession }] = await Promise.all([
      import("../counters.ts"),
      import("../db/session.ts"),
    ]);
    const counters = (await Promise.all(allFeatures().map((feature) => feature.counters?.() ?? []))).flat();
    const progress = createProgress();
    const listed: WrongCounter[] = [];
    const left = flags.repair ? "What is repaired stays. Run it again for the rest." : "Nothing was changed.";
    const found = await untilInterrupted(left, (signal) =>
      this.withDeps(flags, async ({ database }) => {
        // Somebody's million followers may take longer to count than a statement of a request may.
        const db = openSession(database.connection, "tintype counters verify");
        try {
          return await verifyCounters(db, counters, {
            repair: flags.repair,
            signal,
            onProgress: (counter, checked) => progress.say(`counting ${counter}: ${checked}`),
            onWrong: (wrong) => {
              if (listed.length < MOST_LISTED) listed.push(wrong);
              progress.end();
              this.log(`${wrong.counter}  ${wrong.id}  is ${wrong.kept}, should be ${wrong.actual}`);
            },
          });
        } finally {
          await db.destroy();
        }
      }),
    ).finally(progress.end);
    const [wrong, repaired] = (["wrong", "repaired"] as const).map((name) =>
      found.reduce((sum, one) => sum + one[name], 0),
    ) as [number, number];
    this.table(found, ["name", "checked", "wrong", "repaired"]);
    if (wrong > repaired) {
      process.exitCode = 1;
      if (!flags.repair) this.log("Nothing was changed; --repair sets them right.");
    }
    return { counters: found, wrong, repaired, differences: listed };
  }
}
