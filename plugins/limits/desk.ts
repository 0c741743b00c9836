import type { FastifyReply, FastifyRequest } from "fastify";
import type { HttpError } from "../../src/http/errors.ts";
import { rateLimited } from "./errors.ts";
import type { Limiter, LogName, Place, ShownStanding } from "./limiter.ts";
import type { Limit } from "./limits.ts";
import { hits } from "./metrics.ts";
import { Turns } from "./turns.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** The places that it has, until its answer is known. */
    places: readonly Held[] | null;
  }
}

/** What a request wants of a limit. */
export interface Wanted {
  limit: Limit;
  name: LogName;
  /** With 0 nothing is taken, and answers only tell how the limit stands. */
  amount: number;
}

/** A place that a request has. */
export interface Held extends Wanted {
  place: Place;
}

/** Where requests get their places, and what is said of them in answers. */
export class Desk {
  readonly #open: () => Limiter;
  #limiter: Limiter | undefined;
  #turns: Turns | undefined;

  /** @param open is called for the first request. */
  constructor(open: () => Limiter) {
    this.#open = open;
  }

  /**
   * Takes all of these places or none; `settle` gives them back.
   * @throws 429 that tells the longest wait.
   */
  async admit(request: FastifyRequest, reply: FastifyReply, wanted: readonly Wanted[]): Promise<void> {
    const held = await Promise.all(
      wanted.map(async (one): Promise<Held> => ({ ...one, place: await this.#placeOf(one) })),
    );
    const refused = held.filter(({ place }) => !place.taken);
    const longest = refused.toSorted((one, other) => other.place.wait - one.place.wait)[0];
    if (longest !== undefined) {
      for (const { limit } of refused) hits.inc({ action: limit.name });
      await Promise.all(held.map(({ place, amount }) => place.taken && place.giveBack(amount)));
      throw refusal(reply, longest);
    }
    request.places = [...(request.places ?? []), ...held];
    const [first] = request.places;
    if (first) tellStanding(reply, first.limit, first.place.standing);
  }

  /** To be called when the status of the answer is known, before it goes out. */
  async settle(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const held = request.places;
    if (held === null) return;
    request.places = null;
    const { statusCode } = reply;
    const [standing] = await Promise.all(
      held.map(({ limit, amount, place }) => {
        const freed = limit.freed(statusCode, request, amount);
        return freed > 0 || limit.guesses ? place.giveBack(freed) : place.standing;
      }),
    );
    // A refusal has told of the limit that it is about.
    if (held[0] && standing && statusCode !== 429) tellStanding(reply, held[0].limit, standing);
  }

  /** Says how a limit stands, where nothing is taken of it. */
  async tell(reply: FastifyReply, { limit, name }: Pick<Wanted, "limit" | "name">): Promise<void> {
    tellStanding(reply, limit, await this.#opened().look(name, limit.rule));
  }

  async #placeOf({ limit: { guesses, rule }, name, amount }: Wanted): Promise<Place> {
    const limiter = this.#opened();
    if (amount === 0) {
      const standing = await limiter.look(name, rule);
      return { taken: true, wait: 0, standing, giveBack: async () => standing };
    }
    if (!guesses) return limiter.take(name, rule, amount);
    this.#turns ??= new Turns(limiter);
    return this.#turns.take(name, rule, amount);
  }

  #opened(): Limiter {
    this.#limiter ??= this.#open();
    return this.#limiter;
  }
}

function refusal(reply: FastifyReply, { limit, place }: Held): HttpError {
  tellStanding(reply, limit, place.standing);
  const seconds = Math.max(1, Math.ceil(place.wait / 1_000));
  return rateLimited({ seconds }, { retryAfter: seconds, details: { retry_after: seconds, limit: limit.name } });
}

function tellStanding(reply: FastifyReply, { rule }: Limit, { used, resetAt }: ShownStanding): void {
  reply.header("x-ratelimit-limit", rule.most);
  reply.header("x-ratelimit-remaining", Math.max(0, rule.most - used));
  reply.header("x-ratelimit-reset", Math.ceil(resetAt / 1_000));
}
