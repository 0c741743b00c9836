import type { Feature } from "../../src/feature.ts";
import { jsonEntry } from "../../src/takeout.ts";
import { LimitsReset, LimitsShow } from "./commands.ts";
import { sweepJob } from "./jobs.ts";

export const limits: Feature = {
  name: "limits",
  summary: "how often one may do what burdens others, and guess passwords",
  requires: ["tickets", "accounts"],
  guard: async (scope, context) => (await import("./guard.ts")).guardRoutes(scope, context),
  async *takeout({ db }, userId) {
    yield jsonEntry("sign_in_addresses.json", await (await import("./store.ts")).placesOf(db, userId));
  },
  // What Redis has of an account is gone a day later by itself.
  erase: async ({ db }, userId) => (await import("./store.ts")).forgetPlaces(db, userId),
  on: {
    // Whoever had the old one may have been at any of them.
    "account.password_changed": async (tx, { user_id }) => (await import("./store.ts")).forgetOtherPlaces(tx, user_id),
    "account.owner_came": async (tx, { user_id, address }) => {
      const [{ rememberPlace }, { placeOf }] = await Promise.all([import("./store.ts"), import("./subjects.ts")]);
      await rememberPlace(tx, user_id, placeOf(address));
    },
  },
  jobs: [sweepJob],
  commands: { "limits:reset": LimitsReset, "limits:show": LimitsShow },
};
