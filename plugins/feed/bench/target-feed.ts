import { startLoadGenerator } from "../../../src/bench/load/generator.ts";
import type { KeptAnswer } from "../../../src/bench/load/plan.ts";
import { startBufferReference } from "../../../src/bench/reference.ts";
import { describeMachine, type Report } from "../../../src/bench/report.ts";
import { OperationError } from "../../../src/errors.ts";
import type { FeedBenchOptions } from "./feed.ts";
import { comparePairs, LOAD, measureOpen } from "./load.ts";
import type { Person } from "./people.ts";
import { feedIn, PAGE } from "./requests.ts";
import { befriend, registerPeople } from "./target-people.ts";

/** Whom each account follows; below what one may follow an hour. */
const FOLLOWING = 20;

/** Measures feed pages of a server that runs already, with accounts that it registers there. */
export async function benchTargetFeed(
  options: Omit<FeedBenchOptions, "executable"> & { target: string; accounts: number },
): Promise<Report> {
  const started_at = new Date().toISOString();
  const { target, accounts, log } = options;
  log(`registering ${accounts} accounts at ${target}`);
  await using stack = new AsyncDisposableStack();
  const { people, remove } = await registerPeople(target, accounts);
  stack.defer(remove);
  await befriend(people, FOLLOWING);
  const generator = startLoadGenerator();
  stack.defer(() => generator.stop());
  const body = await pageOf(target, people);
  const buffer = await startBufferReference(body);
  stack.defer(() => buffer.stop());
  const load = {
    ...options,
    generator,
    url: target,
    tokens: people.map(({ token }) => token),
    changes: [],
    verify: (kept: KeptAnswer[]) => verifyCircle(people, kept),
  };
  const compared = await comparePairs(load, { buffer });
  const open = await measureOpen(load, compared.capacity * LOAD);
  return {
    bench: "feed",
    started_at,
    machine: describeMachine(),
    figures: { accounts, page_bytes: body.length, ...compared.figures, ...open },
    ratios: compared.ratios,
  };
}

async function pageOf(target: string, people: readonly Person[]): Promise<Buffer> {
  const token = people[Math.floor(people.length / 2)]?.token;
  const response = await fetch(`${target}${PAGE}`, { headers: { authorization: `Bearer ${token}` } });
  const body = Buffer.from(await response.arrayBuffer());
  if (feedIn({ status: response.status, body }).items.length === 0)
    throw new OperationError("the feed of one who follows others is empty");
  return body;
}

/** @throws OperationError when somebody is shown a post of one whom they do not follow. */
function verifyCircle(people: readonly Person[], kept: readonly KeptAnswer[]): void {
  const places = new Map(people.map(({ username }, index) => [username, index]));
  for (const answer of kept) {
    for (const { author } of feedIn(answer).items) {
      const steps = ((places.get(author.username) ?? Number.NaN) - answer.request + people.length) % people.length;
      if (steps <= FOLLOWING) continue;
      throw new OperationError(`the feed of ${people[answer.request]?.username} shows a post of ${author.username}`);
    }
  }
}
