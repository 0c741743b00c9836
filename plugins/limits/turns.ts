import type { Limiter, LogName, Place } from "./limiter.ts";
import type { Rule } from "./log.ts";

/** How many may wait for one subject; each takes as long as a password takes to be checked. */
const MOST_WAITING = 64;
/** Milliseconds after which whoever finds as many waiting may ask again: those who are right have gone by then. */
const TRY_AGAIN = 1_000;

interface Lane {
  /** Who has a place, and whose answer is not known. */
  pending: number;
  /** How many of them gave their place back. */
  freed: number;
  waiting: (() => void)[];
  /** Who is about to take a place or waits. */
  callers: number;
}

/**
 * Places for guesses, taken before it is known whether they are right, so that no more can be wrong than may be. Who comes
 * while all are taken by such as are being checked waits for those, in this process: one who is right is not refused
 * because others, who are right too, came at the same time.
 */
export class Turns {
  readonly #limiter: Limiter;
  readonly #lanes = new Map<string, Lane>();

  constructor(limiter: Limiter) {
    this.#limiter = limiter;
  }

  async take(name: LogName, rule: Rule, amount: number): Promise<Place> {
    const key = `${name.limit} ${name.subject}`;
    const lane = this.#lanes.get(key) ?? { pending: 0, freed: 0, waiting: [], callers: 0 };
    this.#lanes.set(key, lane);
    lane.callers++;
    try {
      for (;;) {
        const { freed } = lane;
        const place = await this.#limiter.take(name, rule, amount);
        if (place.taken) return this.#hold(key, lane, place);
        if (lane.freed !== freed) continue;
        if (lane.pending === 0) return place;
        if (lane.waiting.length >= MOST_WAITING) return { ...place, wait: Math.min(place.wait, TRY_AGAIN) };
        await new Promise<void>((resolve) => lane.waiting.push(resolve));
      }
    } finally {
      lane.callers--;
      this.#tidy(key, lane);
    }
  }

  #hold(key: string, lane: Lane, place: Place): Place {
    lane.pending++;
    return {
      ...place,
      giveBack: async (freed) => {
        try {
          return freed > 0 ? await place.giveBack(freed) : place.standing;
        } finally {
          lane.pending--;
          if (freed > 0) lane.freed++;
          // Each that goes back lets one in; when none is left who could give one back, the others have waited in vain.
          const called = lane.pending === 0 ? lane.waiting.splice(0) : lane.waiting.splice(0, freed > 0 ? 1 : 0);
          for (const call of called) call();
          this.#tidy(key, lane);
        }
      },
    };
  }

  #tidy(key: string, lane: Lane): void {
    if (lane.pending === 0 && lane.callers === 0) this.#lanes.delete(key);
  }
}
