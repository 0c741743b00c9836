import type { Feature } from "../../src/feature.ts";
import { sweepJob } from "./jobs.ts";

/** The upkeep of what src/http/idempotency.ts stores: the platform itself has neither jobs nor a part in erasing accounts. */
export const idempotency: Feature = {
  name: "idempotency",
  summary: "answers that are given again for the same Idempotency-Key",
  core: true,
  requires: ["accounts"],
  jobs: [sweepJob],
  erase: async ({ db }, userId, signal) =>
    (await import("../../src/http/idempotency-store.ts")).eraseKeys(db, userId, signal),
};
