import type { Tx } from "./db/transaction.ts";

/**
 * What features tell each other. The feature that knows adds its event by declaration merging beside the code that emits it:
 *
 *     declare module "../../src/events.ts" { interface Events { "post.published": { post_id: string } } }
 *
 * Handlers run inside the emitter's transaction, in the order of the features: what they write, and the jobs that
 * they enqueue, exist exactly if the fact does.
 */
export interface Events extends Record<never, never> {}

export type EventName = keyof Events;

export type EventHandlers<Context> = {
  [Name in EventName]?: (tx: Tx, event: Events[Name], context: Context) => Promise<void>;
};

/** Tells the features that something is now true, in the transaction that makes it so: see `handlersOf`. */
export type Emit = <Name extends EventName>(tx: Tx, name: Name, event: Events[Name]) => Promise<void>;

/** Binds handlers to the context that they are given; an event that nobody handles is no error. */
export function createEmit<Context>(handlers: readonly EventHandlers<Context>[], context: () => Context): Emit {
  return async (tx, name, event) => {
    for (const handler of handlers) await handler[name]?.(tx, event, context());
  };
}
