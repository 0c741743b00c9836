import fc from "fast-check";
import { CHANGES } from "../graph-model.ts";
import { AUDIENCE_CHANGES, type AudienceOperation } from "./model.ts";

export const EMOJIS = ["❤️", "😂", "👏"] as const;

/** What somebody does. `server`, `servers` and `index` are taken modulo what there is. */
export type PersonStep = { who: string } & (
  | { step: "audience"; server: number; operation: AudienceOperation }
  | { step: "post"; server: number; audience: "everyone" | "close_friends" }
  /** The same view, through several servers at once. */
  | { step: "view"; servers: number[]; index: number }
  | { step: "react"; server: number; index: number; emoji: string | null }
  /** Also of a story that is somebody else's. */
  | { step: "delete"; server: number; index: number; own: boolean }
);

/** What befalls the service meanwhile. */
export type Disturbance =
  | { kind: "kill server" | "kill worker"; index: number }
  /** Jobs that are under way are taken once more. */
  | { kind: "repeat jobs" }
  /** As many at once, by command; `null` is by the clock's job. Seconds of grace. */
  | { kind: "cleanup"; graces: (number | null)[] }
  /** By command, and killed after so many milliseconds. */
  | { kind: "kill cleanup"; after: number }
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
  const [server, index] = [fc.nat(11), fc.nat(19)];
  // Following more often than the rest: else nobody has a tray.
  const changes: AudienceOperation["change"][] = [
    ...([
      "follow",
      "follow",
      "follow",
      "follow",
      "unfollow",
      "approve",
      "block",
      "unblock",
      "unblock",
      "unhide",
    ] as const),
    ...(Object.keys(CHANGES) as (keyof typeof CHANGES)[]),
    ...(Object.keys(AUDIENCE_CHANGES) as (keyof typeof AUDIENCE_CHANGES)[]),
    ...(Object.keys(AUDIENCE_CHANGES) as (keyof typeof AUDIENCE_CHANGES)[]),
  ];
  const between = fc
    .tuple(fc.shuffledSubarray([...people], { minLength: 2, maxLength: 2 }), fc.constantFrom(...changes), server)
    .map(([[who = "", whom = ""], change, server]): PersonStep => {
      const operation = { who, change, whom } as AudienceOperation;
      return { step: "audience", who, server, operation };
    });
  const privacy = fc
    .tuple(who, fc.constantFrom("private" as const, "public" as const), server)
    .map(([who, change, server]): PersonStep => ({ step: "audience", who, server, operation: { who, change } }));
  const step: fc.Arbitrary<PersonStep> = fc.oneof(
    { weight: 6, arbitrary: between },
    { weight: 1, arbitrary: privacy },
    {
      weight: 6,
      arbitrary: fc.record({
        who,
        server,
        step: fc.constant("post" as const),
        audience: fc.constantFrom("everyone" as const, "everyone" as const, "close_friends" as const),
      }),
    },
    {
      weight: 16,
      arbitrary: fc.record({
        who,
        step: fc.constant("view" as const),
        index,
        servers: fc.array(server, { minLength: 1, maxLength: 4 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        who,
        server,
        step: fc.constant("react" as const),
        index,
        emoji: fc.constantFrom(...EMOJIS, null),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        who,
        server,
        step: fc.constant("delete" as const),
        index,
        own: fc.constantFrom(true, true, true, false),
      }),
    },
  );
  const ofKind = (kind: Disturbance["kind"]): fc.Arbitrary<Disturbance> => {
    switch (kind) {
      case "other":
        return fc.constantFrom(...others).map((name) => ({ kind, name }));
      case "repeat jobs":
        return fc.constant({ kind });
      case "cleanup":
        return fc
          .array(fc.constantFrom(0, 0, 1, 3_600, null), { minLength: 1, maxLength: 3 })
          .map((graces) => ({ kind, graces }));
      case "kill cleanup":
        return fc.integer({ min: 400, max: 1_600 }).map((after) => ({ kind, after }));
      default:
        return fc.nat(11).map((index) => ({ kind, index }));
    }
  };
  const disturbance: fc.Arbitrary<Disturbance | null> =
    disturbances.length === 0
      ? fc.constant(null)
      : fc.oneof(
          { weight: 7, arbitrary: fc.constant(null) },
          { weight: 1, arbitrary: fc.oneof(...disturbances.map(ofKind)) },
        );
  return fc.record({ steps: fc.array(step, { minLength: 1, maxLength: 4, size: "max" }), disturbance });
}
