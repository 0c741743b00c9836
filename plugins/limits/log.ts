/** A limit as it is kept. Times are microseconds, as Redis tells them. */
export interface Rule {
  most: number;
  window: number;
  /** Times are rounded up to a multiple of it. */
  slot: number;
}

/** A place among those of a limit, or why there is none. Microseconds. */
export interface Outcome extends Standing {
  taken: boolean;
  /** By which it is given back; 0 if it was not taken. */
  at: number;
  /** Until so much is free as was asked for; 0 if it was taken. */
  wait: number;
}

export interface Standing {
  /** When this was so, by the clock that decides. */
  now: number;
  used: number;
  /** Until some of it is free again; 0 where nothing is used. */
  next: number;
}

/** Entries of a log: more than that many take longer than what they limit. */
const EXACT = 1_000;

/**
 * @param most 1 or more
 * @param window milliseconds
 */
export function ruleOf({ most, window }: { most: number; window: number }): Rule {
  const microseconds = window * 1_000;
  // Up to a thousand places each is kept by itself, and it is exact. Of more, those of one thousandth of the window are
  // kept as one that came at its end: no window holds more than it may, but a place is free again by so much later.
  return { most, window: microseconds, slot: most <= EXACT ? 1 : Math.ceil(microseconds / EXACT) };
}

/**
 * The places that are taken of one limit, in this process: an exact sliding window, of which `scripts.ts` has the like in
 * Redis. An entry made at `t` counts in all windows that hold `t`, so until `t + window`; `now` never goes back.
 */
export class Log {
  #times: number[] = [];
  #amounts: number[] = [];
  #first = 0;
  used = 0;

  /** How much memory it takes, in entries. */
  get entries(): number {
    return this.#times.length;
  }

  take(now: number, rule: Rule, amount: number): Outcome {
    this.#forget(now, rule);
    if (this.used + amount > rule.most) {
      return { ...this.#standing(now, rule), taken: false, at: 0, wait: this.#untilFree(now, rule, amount) };
    }
    const at = this.#add(now, rule, amount);
    return { ...this.#standing(now, rule), taken: true, at, wait: 0 };
  }

  /** Keeps what was taken elsewhere, at a time that may be before that of others. @returns by which it is given back. */
  add(time: number, rule: Rule, amount: number): number {
    this.#forget(time, rule);
    return this.#add(time, rule, amount);
  }

  giveBack(now: number, rule: Rule, at: number, amount: number): Standing {
    this.#forget(now, rule);
    const index = this.#times.lastIndexOf(at);
    if (index >= this.#first) {
      const left = (this.#amounts[index] ?? 0) - amount;
      this.used -= amount;
      this.#amounts[index] = left;
      if (left <= 0) {
        this.#times.splice(index, 1);
        this.#amounts.splice(index, 1);
      }
    }
    return this.#standing(now, rule);
  }

  /** Until `amount` more fits; 0 if it does. */
  wait(now: number, rule: Rule, amount: number): number {
    this.#forget(now, rule);
    return this.used + amount <= rule.most ? 0 : this.#untilFree(now, rule, amount);
  }

  look(now: number, rule: Rule): Standing {
    this.#forget(now, rule);
    return this.#standing(now, rule);
  }

  #add(time: number, { slot }: Rule, amount: number): number {
    const at = Math.ceil(time / slot) * slot;
    this.used += amount;
    let behind = this.#times.length;
    while (behind > this.#first && (this.#times[behind - 1] ?? 0) > at) behind--;
    if (behind > this.#first && this.#times[behind - 1] === at) {
      this.#amounts[behind - 1] = (this.#amounts[behind - 1] ?? 0) + amount;
    } else {
      this.#times.splice(behind, 0, at);
      this.#amounts.splice(behind, 0, amount);
    }
    return at;
  }

  #forget(now: number, { window }: Rule): void {
    for (let time = this.#times[this.#first]; time !== undefined && time + window <= now; ) {
      this.used -= this.#amounts[this.#first] ?? 0;
      time = this.#times[++this.#first];
    }
    // Only now and then: to take each off by itself would move all others each time.
    if (this.#first > this.#times.length / 2) {
      this.#times.splice(0, this.#first);
      this.#amounts.splice(0, this.#first);
      this.#first = 0;
    }
  }

  #standing(now: number, { window }: Rule): Standing {
    const oldest = this.#times[this.#first];
    return { now, used: this.used, next: oldest === undefined ? 0 : oldest + window - now };
  }

  #untilFree(now: number, { window, most }: Rule, amount: number): number {
    let used = this.used;
    for (let index = this.#first; index < this.#times.length; index++) {
      used -= this.#amounts[index] ?? 0;
      if (used + amount <= most) return (this.#times[index] ?? 0) + window - now;
    }
    return window;
  }
}
