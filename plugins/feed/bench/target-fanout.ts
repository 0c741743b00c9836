import { describeMachine, type Report } from "../../../src/bench/report.ts";
import { OperationError } from "../../../src/errors.ts";
import { measureArrivals } from "./fanout.ts";
import { registerPeople } from "./target-people.ts";

/** Measures, on a server that runs already, how soon a post is in a follower's feed. */
export async function benchTargetFanout(options: {
  target: string;
  accounts: number;
  posts: number;
  log: (line: string) => void;
}): Promise<Report> {
  const started_at = new Date().toISOString();
  const { target, accounts, posts, log } = options;
  log(`registering ${accounts} accounts at ${target}`);
  await using stack = new AsyncDisposableStack();
  const { people, remove } = await registerPeople(target, accounts);
  stack.defer(remove);
  const [author, ...followers] = people;
  const follower = followers.at(-1);
  if (!author || !follower) throw new OperationError("an author and a follower are wanted, so two accounts");
  for (const one of followers) {
    await one.call("POST", `/users/${author.username}/follow`);
    // By which a timeline is there to be pushed to.
    await one.call("GET", "/feed?limit=1");
  }
  log(`waiting for ${posts} posts in a follower's feed`);
  return {
    bench: "fanout",
    started_at,
    machine: describeMachine(),
    figures: { followers: followers.length, ...(await measureArrivals(author, follower, posts)) },
    ratios: [],
  };
}
