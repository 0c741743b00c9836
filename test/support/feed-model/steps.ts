import fc from "fast-check";
import { CHANGES, type Change, type GraphOperation } from "../graph-model.ts";

/** What somebody does. `server` and `index` are taken modulo what there is. */
export type PersonStep = { who: string; server: number } & (
  | { step: "graph"; operation: GraphOperation }
  | { step: "publish"; caption: string }
  | { step: "delete"; index: number }
  | { step: "caption"; index: number; caption: string }
  /** Reads the next page, or the first one. */
  | { step: "read"; limit: number; fresh: boolean }
);

/** What befalls the service meanwhile. */
export type Disturbance =
  | { kind: "kill server" | "kill worker"; index: number }
  /** Jobs that are under way are taken once more. */
  | { kind: "repeat jobs" }
  /** All timelines, by the operator's command. */
  | { kind: "rebuild" }
  | { kind: "suspend" | "unsuspend"; who: string }
  /** One that the test brings along. */
  | { kind: "other"; name: string };

/** What happens at once, by one person each. */
export interface Round {
  steps: PersonStep[];
  disturbance: Disturbance | null;
}

/** Rounds for these people, with these disturbances. */
export function rounds(
  people: readonly string[],
  disturbances: readonly Disturbance["kind"][],
  others: readonly string[],
): fc.Arbitrary<Round> {
  const who = fc.constantFrom(...people);
  const server = fc.nat(11);
  const caption = fc.nat(999).map((n) => `caption ${n}`);
  // Following more often than the rest: else nobody has a feed, or followers enough.
  const often: Change[] = ["follow", "follow", "follow", "follow", "follow", "unfollow", "unfollow", "approve"];
  const change = fc.constantFrom(...often, ...(Object.keys(CHANGES) as Change[]));
  const between = fc.tuple(fc.shuffledSubarray([...people], { minLength: 2, maxLength: 2 }), change, server).map(
    ([[who = "", whom = ""], change, server]): PersonStep => ({
      step: "graph",
      who,
      server,
      operation: { who, change, whom },
    }),
  );
  const privacy = fc
    .tuple(who, fc.constantFrom("private" as const, "public" as const), server)
    .map(([who, change, server]): PersonStep => ({ step: "graph", who, server, operation: { who, change } }));
  const personStep: fc.Arbitrary<PersonStep> = fc.oneof(
    { weight: 8, arbitrary: between },
    { weight: 1, arbitrary: privacy },
    { weight: 5, arbitrary: fc.record({ who, server, step: fc.constant("publish" as const), caption }) },
    { weight: 2, arbitrary: fc.record({ who, server, step: fc.constant("delete" as const), index: fc.nat(3) }) },
    {
      weight: 1,
      arbitrary: fc.record({ who, server, step: fc.constant("caption" as const), index: fc.nat(3), caption }),
    },
    {
      weight: 12,
      arbitrary: fc.record({
        who,
        server,
        step: fc.constant("read" as const),
        limit: fc.constantFrom(1, 2, 5, 20, 100),
        fresh: fc.boolean(),
      }),
    },
  );
  const ofKind = (kind: Disturbance["kind"]): fc.Arbitrary<Disturbance> => {
    if (kind === "other") return fc.constantFrom(...others).map((name) => ({ kind, name }));
    if (kind === "kill server" || kind === "kill worker") return fc.nat(11).map((index) => ({ kind, index }));
    if (kind === "repeat jobs" || kind === "rebuild") return fc.constant({ kind });
    return who.map((who) => ({ kind, who }));
  };
  const disturbance: fc.Arbitrary<Disturbance | null> =
    disturbances.length === 0
      ? fc.constant(null)
      : fc.oneof(
          { weight: 9, arbitrary: fc.constant(null) },
          { weight: 1, arbitrary: fc.oneof(...disturbances.map(ofKind)) },
        );
  return fc.record({ steps: fc.array(personStep, { minLength: 1, maxLength: 4, size: "max" }), disturbance });
}
