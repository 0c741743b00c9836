import type { FastifyRequest } from "fastify";
import type { Config } from "../../src/config/schema.ts";
import type { LimitName } from "../../src/http/types.ts";
import type { LogName } from "./limiter.ts";
import { type Rule, ruleOf } from "./log.ts";

/** How one thing is limited. */
export interface Limit {
  name: LogName["limit"];
  rule: Rule;
  /** Whose it is. The machine's own address stands for everybody behind a proxy that is not known as one. */
  by: "account" | "session" | "address" | "address, but the machine's own";
  /** How much one request takes: one place, or the bytes of its body. */
  unit: "request" | "byte";
  /** How much of `amount` goes back, by the status of the answer. */
  freed(status: number, request: FastifyRequest, amount: number): number;
  /** Whether it is about guesses: then those that are right go on at once, however many come at the same time. */
  guesses: boolean;
}

type Kind = Omit<Limit, "name" | "rule"> & { setting: Exclude<keyof Config["limits"], "enabled"> };

/** What was not done does not count. */
const DONE: Pick<Kind, "unit" | "freed" | "guesses"> = {
  unit: "request",
  freed: (status, _request, amount) => (status >= 200 && status < 300 ? 0 : amount),
  guesses: false,
};

/** Only what was guessed wrong counts. @param wrong the status by which that is told. */
const guesses = (wrong: number): typeof DONE => ({
  unit: "request",
  freed: (status, _request, amount) => (status === wrong ? 0 : amount),
  guesses: true,
});

const KINDS: Readonly<Record<LimitName, Kind>> = {
  follow: { setting: "follow", by: "account", ...DONE },
  post: { setting: "post", by: "account", ...DONE },
  like: { setting: "like", by: "account", ...DONE },
  comment: { setting: "comment", by: "account", ...DONE },
  search: { setting: "search", by: "account", ...DONE },
  registration: {
    setting: "registration",
    by: "address, but the machine's own",
    ...DONE,
    // That a name or an email is taken is told as often as accounts are made, or all emails could be tried.
    freed: (status, request, amount) => (status === 409 ? 0 : DONE.freed(status, request, amount)),
  },
  recovery: { setting: "recovery", by: "address, but the machine's own", ...DONE },
  // That by (account, address) is a part of it: both are as many in the same time, and each that counts there counts here.
  login: { setting: "login", by: "address", ...guesses(401) },
  password: {
    setting: "password",
    // Not by account: whoever has stolen a session could then keep the owner from changing the password.
    by: "session",
    ...guesses(403),
    // To be told that a key was used with another password is to be told that this one is wrong.
    freed: (status, { idempotency }, amount) =>
      status === 403 || (status === 422 && idempotency?.replays) ? 0 : amount,
  },
  upload: {
    setting: "upload",
    by: "account",
    unit: "byte",
    // What came has cost what it costs, taken or not; but nobody pays for what failed on our side.
    freed: (status, { arrived = 0 }, amount) =>
      status === 429 || status >= 500 ? amount : Math.max(0, amount - arrived),
    guesses: false,
  },
};

/** Null where it is switched off. */
export function limitOf(config: Config, name: LimitName): Limit | null {
  const { setting, ...kind } = KINDS[name];
  const given = config.limits[setting];
  return config.limits.enabled && given.most > 0 ? { name, rule: ruleOf(given), ...kind } : null;
}

/** Of wrong passwords for one name, from where its owner has never been; null where it is switched off. */
export function accountLoginLimit(config: Config): Limit | null {
  const { enabled, login_account: given } = config.limits;
  const { setting, ...kind } = KINDS.login;
  return enabled && given.most > 0 ? { ...kind, name: "login_account", rule: ruleOf(given) } : null;
}

export const LIMIT_NAMES = Object.keys(KINDS) as LimitName[];
