/**
 * Who may decode now. There are `size` places, which are given in the order in which files came, and a side lane of one,
 * so that a file that never ends holds up neither the others nor the job places that wait behind it:
 *
 * - A file that takes much longer than is usual gives its place up to one that waits, and goes on in the side lane; where
 *   that is taken, it is set aside after a quarter of its time: stopped, to be tried again as a suspect.
 * - Suspects, which were hard on a decoder before, are decoded in the side lane only.
 * - Who has a file in the side lane gets no place meanwhile, and who has one in a place gets no suspect into the lane:
 *   however many such files an account sends, one at a time is decoded.
 */

/** There is no place for this file now, and it must not wait here for one: others could have the job's. */
export class DecoderBusyError extends Error {
  /** When to ask again. Later and later, so that those who ask do not keep the queue busy. */
  readonly seconds: number;
  /** The file had a place, and was stopped because it took so long that others waited. */
  readonly setAside: boolean;

  constructor(seconds: number, setAside = false) {
    super("The side lane is taken.");
    this.name = "DecoderBusyError";
    this.seconds = seconds;
    this.setAside = setAside;
  }
}

/** The pool was closed before this file's turn came; another process can still render it. */
export class DecoderClosedError extends Error {
  constructor() {
    super("The decoder is closed.");
    this.name = "DecoderClosedError";
  }
}

export interface Claim {
  /** Whose file it is; undefined for nobody's. */
  owner: string | undefined;
  suspect: boolean;
}

export interface Place {
  /** The decoder has begun; `stop` ends it when the file is set aside. */
  begin(stop: (reason: DecoderBusyError) => void): void;
  /** To be called once, whatever happened. @param decoded it ended well. */
  leave(decoded: boolean): void;
}

export interface Places {
  /** @throws DecoderBusyError, DecoderClosedError, and the signal's reason. */
  take(claim: Claim, signal?: AbortSignal): Promise<Place>;
  /** Refuses those that wait and all that come, and resolves when nobody holds a place any more. */
  close(): Promise<void>;
}

interface Held {
  claim: Claim;
  begun?: { at: number; stop: (reason: DecoderBusyError) => void };
}

interface Waiting {
  claim: Claim;
  start: (held: Held) => void;
  refuse: (reason: unknown) => void;
}

/** Milliseconds. Nothing is taken to be long below this. */
const SHORT = 500;
/** How many times as long as usual a file may take while others wait. */
const PATIENCE = 4;
/** The part that a file has in what is usual. */
const WEIGHT = 1 / 16;
const LOOK_MS = 50;
const FIRST_DELAY_SECONDS = 2;
const LONGEST_DELAY_SECONDS = 300;

export function createPlaces({ size, timeoutMs }: { size: number; timeoutMs: number }): Places {
  const held = new Set<Held>();
  const waiting: Waiting[] = [];
  const drained = Promise.withResolvers<void>();
  const setAsideAfter = Math.max(SHORT, timeoutMs / 4);
  let lane: Held | undefined;
  let closed = false;
  /** Milliseconds that a file takes, of those that ended well. */
  let usual = 0;
  /** Since the lane was free. */
  let refusals = 0;
  let watch: NodeJS.Timeout | undefined;

  const taken = () => held.size - (lane ? 1 : 0);

  function mustComeAgain({ owner, suspect }: Claim): boolean {
    if (suspect && lane) return true;
    if (owner === undefined) return false;
    return suspect ? [...held].some(({ claim }) => claim.owner === owner) : lane?.claim.owner === owner;
  }

  function busy(setAside = false): DecoderBusyError {
    return new DecoderBusyError(Math.min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS + refusals++), setAside);
  }

  function hold(claim: Claim): Held {
    const one: Held = { claim };
    held.add(one);
    return one;
  }

  function fill(): void {
    while (taken() < size) {
      const next = waiting.shift();
      if (!next) break;
      if (mustComeAgain(next.claim)) next.refuse(busy());
      else next.start(hold(next.claim));
    }
    if (waiting.length > 0) watch ??= setInterval(look, LOOK_MS);
    else {
      clearInterval(watch);
      watch = undefined;
    }
  }

  /** Somebody waits: does the one that has its place for longest have it for too long? */
  function look(): void {
    const [oldest] = [...held].flatMap((one) => (one.begun && one !== lane ? [{ one, ...one.begun }] : []));
    if (!oldest) return;
    const age = performance.now() - oldest.at;
    if (lane) {
      if (age >= setAsideAfter) oldest.stop(busy(true));
    } else if (age >= Math.min(setAsideAfter, Math.max(SHORT, PATIENCE * usual))) {
      lane = oldest.one;
      fill();
    }
  }

  function leave(one: Held, decoded: boolean): void {
    held.delete(one);
    if (one.begun && decoded) usual += (performance.now() - one.begun.at - usual) * WEIGHT;
    if (one === lane) {
      lane = undefined;
      refusals = 0;
    }
    fill();
    if (closed && held.size === 0) drained.resolve();
  }

  async function turnOf(claim: Claim, signal: AbortSignal | undefined): Promise<Held> {
    if (mustComeAgain(claim)) throw busy();
    if (claim.suspect) {
      lane = hold(claim);
      return lane;
    }
    if (taken() < size) return hold(claim);
    const { promise, resolve, reject } = Promise.withResolvers<Held>();
    const entry: Waiting = { claim, start: resolve, refuse: reject };
    const giveUp = () => {
      const at = waiting.indexOf(entry);
      if (at >= 0) waiting.splice(at, 1);
      reject(signal?.reason);
    };
    waiting.push(entry);
    fill();
    signal?.addEventListener("abort", giveUp, { once: true });
    try {
      return await promise;
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
  }

  return {
    async take(claim, signal) {
      if (closed) throw new DecoderClosedError();
      const one = await turnOf(claim, signal);
      return {
        begin(stop) {
          one.begun = { at: performance.now(), stop };
        },
        leave: (decoded) => leave(one, decoded),
      };
    },
    close() {
      closed = true;
      for (const { refuse } of waiting.splice(0)) refuse(new DecoderClosedError());
      fill();
      if (held.size === 0) drained.resolve();
      return drained.promise;
    },
  };
}
