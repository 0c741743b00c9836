/** The process of the load generator: it is given one plan after the other, and says what came of it. */
import { runLoad } from "./run.ts";

process.on("message", async (plan: Parameters<typeof runLoad>[0]) => {
  try {
    process.send?.({ result: await runLoad(plan) });
  } catch (error) {
    process.send?.({ error: error instanceof Error ? error.message : String(error) });
  }
});
process.on("disconnect", () => process.exit());
