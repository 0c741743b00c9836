import type { Command } from "@oclif/core";
import type { Context } from "./context.ts";
import type { Counter } from "./counters.ts";
import type { Db } from "./db/transaction.ts";
import { ConfigError } from "./errors.ts";
import type { EventHandlers } from "./events.ts";
import type { App, Viewer } from "./http/types.ts";
import type { Job } from "./jobs/job.ts";
import type { KeptData } from "./kept-data.ts";
import type { KnownObject } from "./ports/media.ts";
import type { TakeoutEntry } from "./takeout.ts";

/** What an operator should know of though everything works. */
export interface Warning {
  /** One word that never changes, for alerts. */
  code: string;
  message: string;
}

/**
 * A feature: one folder of plugins/. Everything it adds to the program is named here, so that leaving it out of
 * TINTYPE_FEATURES leaves no route, job or command of it, and no event handler but `always`.
 */
export interface Feature {
  name: string;
  /** One sentence for operators. */
  summary: string;
  /** Cannot be switched off. */
  core?: boolean;
  /** Features that must be there too; they come earlier in the list. */
  requires: readonly string[];
  /**
   * Its routes below /api/v1, registered in a scope of their own. Like every function here it imports what it needs
   * when it is called: `tintype --help` loads all features, and half a second of HTTP and SQL libraries is not its business.
   */
  plugin?: (app: App, context: Context) => Promise<void>;
  /** Its routes outside of /api/v1. */
  rootPlugin?: (app: App, context: Context) => Promise<void>;
  /**
   * Its hooks on the routes of all features, which are called behind the authentication. It is given the scope of those
   * below /api/v1 and then that of the others.
   */
  guard?: (app: App, context: Context) => Promise<void>;
  /** Says who a bearer token is; exactly one feature does. */
  authenticate?: (context: Context, token: string) => Promise<Viewer | null>;
  jobs?: readonly Job<Context>[];
  /** By oclif id (`users:create`). Loaded when the command map is asked for, so imports must stay light. */
  commands?: Readonly<Record<string, Command.Class>>;
  on?: EventHandlers<Context>;
  /** Handlers that are called also where it is off, after those above. They make void what servers in which it is on keep, in Redis say. */
  always?: EventHandlers<Context>;
  /** Called by each serve and worker in which it is off: but for `always` it is not told of events there, and what it keeps by them is void. */
  off?: (context: Context) => Promise<void>;
  /**
   * What it keeps of a person, for that person to take along. It is asked of every feature, also of those that are off:
   * what they kept is that person's all the same.
   */
  takeout?: (context: Context, userId: string) => AsyncIterable<TakeoutEntry>;
  /**
   * Removes all that it keeps of an account that is being deleted, in many small transactions. It may be ended at any
   * moment and run again, and is done when it resolves. Asked of every feature, the last of the list first.
   */
  erase?: (context: Context, userId: string, signal: AbortSignal) => Promise<void>;
  /**
   * The objects of the media store that its rows know, for a backup: asked on the snapshot that the rows are copied of.
   * What only saves work, or is soon gone, may be left out. Asked of every feature.
   */
  objects?: (db: Db) => AsyncIterable<KnownObject>;
  /** What of it an operator should know of, for /readyz and `doctor`. Asked every few seconds at most; it may fail, and must be cheap. */
  warnings?: (context: Pick<Context, "config" | "db">) => Promise<Warning[]>;
  /** The counters that it keeps, for `counters verify`. Asked of every feature. */
  counters?: () => Promise<readonly Counter[]>;
  /** Its tables whose rows are of no use without objects that `objects` leaves out. No other table may refer to them. */
  passing?: readonly string[];
}

/**
 * The features that are on, in the order of the list.
 * @param selected the names of TINTYPE_FEATURES, or null for all; core features are always on.
 * @throws ConfigError for an unknown name, or a feature whose requirement is off.
 */
export function enabledFeatures(all: readonly Feature[], selected: readonly string[] | null): Feature[] {
  const unknown = (selected ?? []).filter((name) => !all.some((feature) => feature.name === name));
  if (unknown.length > 0) {
    throw new ConfigError(`unknown feature: ${unknown.join(", ")}`, {
      hint: `The features are ${all.map((feature) => feature.name).join(", ")}.`,
    });
  }
  const enabled = all.filter((feature) => feature.core || selected === null || selected.includes(feature.name));
  const names = new Set(enabled.map((feature) => feature.name));
  for (const feature of enabled) {
    const missing = feature.requires.filter((name) => !names.has(name));
    if (missing.length > 0) {
      throw new ConfigError(`the feature ${feature.name} needs ${missing.join(", ")}`, {
        hint: "Add it to TINTYPE_FEATURES, or leave both out.",
      });
    }
  }
  return enabled;
}

/** The jobs of all these features. */
export function jobsOf(features: readonly Feature[]): Job<Context>[] {
  return features.flatMap((feature) => feature.jobs ?? []);
}

/** Who is told of events: the features that are on, and of the others `always`. In the order of the list. */
export function handlersOf(all: readonly Feature[], enabled: readonly Feature[]): EventHandlers<Context>[] {
  return all.flatMap((feature) => [(enabled.includes(feature) && feature.on) || {}, feature.always ?? {}]);
}

/** What these features keep. Erasing begins with the last: what it keeps may refer to what those before it keep. */
export function keptData(features: readonly Feature[], context: () => Context): KeptData {
  return {
    async *takeout(userId) {
      for (const { takeout } of features) yield* takeout?.(context(), userId) ?? [];
    },
    async erase(userId, signal) {
      for (const { erase } of features.toReversed()) {
        signal.throwIfAborted();
        await erase?.(context(), userId, signal);
      }
    },
    async *objects(db) {
      for (const { objects } of features) yield* objects?.(db) ?? [];
    },
    passing: new Set(features.flatMap(({ passing }) => passing ?? [])),
  };
}
