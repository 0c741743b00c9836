import t from "tap";
import { testDatabase } from "../../test/support/database.ts";
import { exactly } from "../../test/support/exactly.ts";
import { openDb, query } from "../../test/support/product/database.ts";
import { openClient, startWorker, type TestJob, testJob } from "../../test/support/product/jobs.ts";
import { waitFor } from "../../test/support/server.ts";
import { inTransaction } from "../db/transaction.ts";
import { jobStatus, listJobs, purgeJobs, retryJobs } from "./admin.ts";

const { url } = await testDatabase(t);
const db = openDb(t, url);
const client = await openClient(t, url);

const enqueue = (name: TestJob["name"], numbers: number[], options?: { delaySeconds: number }) =>
  inTransaction(db, async (tx) => {
    for (const n of numbers) await client.enqueue(tx, name, { n }, options);
  });

const statusOf = async (queue: string) => (await jobStatus(db)).find((status) => status.queue === queue);
const letters = (queue?: string) => listJobs(db, { failed: true, limit: 100, ...(queue ? { queue } : {}) });
const numbersOf = (jobs: { data: Record<string, unknown> }[]) => jobs.map(({ data }) => data.n).sort();

let broken = true;
const handled: number[] = [];
const handle: TestJob["handle"] = async ({ n }) => {
  if (broken) throw new Error(`no luck with ${n}`);
  handled.push(n);
};
const worker = await startWorker(t, url, [
  testJob({ name: "test.one", handle }),
  testJob({ name: "test.two", attempts: 2, handle }),
  testJob({ name: "test.idle", handle }),
]);

t.test("jobs of every state are counted and listed", async (t) => {
  await enqueue("test.two", [7]);
  await enqueue("test.idle", [1, 2], { delaySeconds: 600 });
  await waitFor(async () => (await statusOf("test.two"))?.retrying === 1, "the first try to fail");
  t.match(
    await listJobs(db, { failed: false, queue: "test.two", limit: 10 }),
    exactly({
      queue: "test.two",
      state: "retrying",
      attempts: 1,
      data: { n: 7 },
      reason: "no luck with 7",
      finished_at: null,
    }),
    "the try that failed counts while it waits for the next",
  );
  t.match(
    await listJobs(db, { failed: false, queue: "test.idle", limit: 10 }),
    exactly({ state: "waiting", attempts: 0, reason: null, created_at: Date }, { state: "waiting", attempts: 0 }),
  );
  t.equal((await listJobs(db, { failed: false, queue: "test.idle", limit: 1 })).length, 1);
  t.same(await listJobs(db, { failed: false, queue: "test.absent", limit: 10 }), []);
  const idle = {
    queue: "test.idle",
    waiting: 2,
    retrying: 0,
    active: 0,
    completed: 0,
    failed: 0,
    oldest_seconds: null,
  };
  t.same(await statusOf("test.idle"), idle, "what may not run yet is not late");
  await query(
    url,
    "UPDATE pgboss.job SET start_after = now(), created_on = now() - interval '90 s' WHERE name = 'test.two'",
  );
  await waitFor(async () => (await statusOf("test.two"))?.failed === 1, "the last try to fail");
  t.match(await statusOf("test.two"), { waiting: 0, retrying: 0, active: 0, failed: 1 });
  t.match(
    await letters("test.two"),
    exactly({
      queue: "test.two",
      state: "failed",
      attempts: 2,
      data: { n: 7 },
      reason: "no luck with 7",
      finished_at: Date,
    }),
  );
  const [letter] = await letters("test.two");
  t.ok(letter?.finished_at && letter.finished_at.getTime() - letter.created_at.getTime() >= 90_000, "its own age");
  t.notOk(
    (await jobStatus(db)).some(({ queue }) => /dead_letters|__/.test(queue)),
    "no queue of the machinery",
  );
  t.ok(
    (await jobStatus(db)).some(({ queue }) => queue === "media.process"),
    "but all of the product",
  );
});

t.test("dead letters are retried by id, by queue, or all", async (t) => {
  await enqueue("test.one", [1, 2, 3]);
  await waitFor(async () => (await letters("test.one")).length === 3, "three dead letters");
  t.same(numbersOf(await letters()), [1, 2, 3, 7]);

  t.equal(await retryJobs(client, { ids: ["00000000-0000-4000-8000-000000000000"] }), 0);
  broken = false;
  const second = (await letters("test.one")).find(({ data }) => data.n === 2);
  t.equal(await retryJobs(client, { ids: [second?.id ?? ""], queue: "test.two" }), 0, "both filters must hold");
  t.equal(await retryJobs(client, { ids: [second?.id ?? ""] }), 1);
  await waitFor(async () => handled.length === 1, "it to run again");
  t.same(handled, [2]);
  t.equal(await retryJobs(client, { ids: [second?.id ?? ""] }), 0, "once");

  t.equal(await retryJobs(client, { queue: "test.two" }), 1);
  await waitFor(async () => handled.length === 2, "it to run again");
  t.equal(await retryJobs(client, {}), 2);
  await waitFor(async () => handled.length === 4, "the others");
  t.same(handled.toSorted(), [1, 2, 3, 7]);
  t.same(await letters(), []);
  await waitFor(async () => (await statusOf("test.one"))?.completed === 3, "their end");
  t.match(await statusOf("test.two"), { completed: 1, failed: 0 });
});

t.test("a job that fails again has all its tries again, and its own queue", async (t) => {
  broken = true;
  await enqueue("test.one", [5]);
  await waitFor(async () => (await letters("test.one")).length === 1, "a dead letter");
  const [first] = await letters("test.one");
  t.equal(await retryJobs(client, {}), 1, "and it is not swept in twice");
  const second = await waitFor(async () => (await letters("test.one")).find(({ id }) => id !== first?.id), "another");
  t.match(second, { queue: "test.one", attempts: 1, data: { n: 5 } });
  t.equal((await letters()).length, 1);
});

t.test("dead letters are purged by age and queue, or only counted", async (t) => {
  await enqueue("test.one", [6]);
  await enqueue("test.two", [8]);
  await waitFor(async () => (await statusOf("test.two"))?.retrying === 1, "the first try to fail");
  await query(url, "UPDATE pgboss.job SET start_after = now() WHERE name = 'test.two' AND state = 'retry'");
  await waitFor(async () => (await letters()).length === 3, "three dead letters");
  await query(
    url,
    "UPDATE pgboss.job SET created_on = now() - interval '2 days' WHERE name = 'dead_letters' AND data->>'n' = '5'",
  );
  const day = 86_400_000;
  t.equal(await purgeJobs(db, { olderThanMs: 3 * day, dryRun: false }), 0);
  t.equal(await purgeJobs(db, { olderThanMs: day, dryRun: true }), 1);
  t.equal(await purgeJobs(db, { olderThanMs: day, queue: "test.two", dryRun: false }), 0);
  t.same(numbersOf(await letters()), [5, 6, 8], "nothing is gone yet");
  t.equal(await purgeJobs(db, { olderThanMs: day, dryRun: false }), 1);
  t.equal(await purgeJobs(db, { olderThanMs: 0, queue: "test.two", dryRun: false }), 1);
  t.same(numbersOf(await letters()), [6]);
  t.equal(await purgeJobs(db, { olderThanMs: 0, dryRun: false }), 1);
  t.equal((await statusOf("test.idle"))?.waiting, 2, "only dead letters are purged");
  await worker.stop();
});
