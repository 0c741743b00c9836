import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import t from "tap";
import { testDatabase } from "../../test/support/database.ts";
import { exactly } from "../../test/support/exactly.ts";
import { openDb, query } from "../../test/support/product/database.ts";
import { openClient, startWorker, testJob } from "../../test/support/product/jobs.ts";
import { startProxy } from "../../test/support/proxy.ts";
import { waitFor } from "../../test/support/server.ts";
import { inTransaction } from "../db/transaction.ts";
import { DependencyError } from "../errors.ts";
import type { JobName, Run } from "./job.ts";

const HELD_JOB = fileURLToPath(new URL("../../test/support/product/held-job.ts", import.meta.url));

const { url } = await testDatabase(t);
const db = openDb(t, url);
const client = await openClient(t, url);

type TestName = `test.${string}`;
type Seen = Pick<Run, "attempt" | "last"> & { n: number };

const enqueue = (name: TestName, ...numbers: number[]) =>
  inTransaction(db, async (tx) => {
    for (const n of numbers) await client.enqueue(tx, name, { n });
  });

interface Row {
  state: string;
  retry_count: number;
  /** Seconds from now until it may run. */
  wait: number;
}

const rowsOf = async (name: JobName) =>
  (await query(
    url,
    "SELECT state::text, retry_count, extract(epoch FROM start_after - now())::float8 AS wait FROM pgboss.job WHERE name = $1",
    [name],
  )) as unknown as Row[];

/** The queue's only job, once it is in that state. */
const untilState = (name: JobName, state: string) =>
  waitFor(async () => (await rowsOf(name)).find((row) => row.state === state), `${name} ${state}`);

/** Spares a test the seconds that a job waits before it is tried again. */
const hurry = (name: JobName) =>
  query(url, "UPDATE pgboss.job SET start_after = now() WHERE name = $1 AND state < 'active'", [name]);

t.test("a job exists exactly if its transaction commits", async (t) => {
  const handled: number[] = [];
  const job = testJob({ name: "test.transaction", handle: async ({ n }) => void handled.push(n) });
  await startWorker(t, url, [job]);
  await t.rejects(
    inTransaction(db, async (tx) => {
      await client.enqueue(tx, "test.transaction", { n: 1 });
      throw new Error("changed my mind");
    }),
    /changed my mind/,
  );
  await inTransaction(db, async (tx) => {
    await client.enqueue(tx, "test.transaction", { n: 2 });
    t.same(await rowsOf("test.transaction"), [], "nobody else sees it before the commit");
  });
  await untilState("test.transaction", "completed");
  t.same(handled, [2]);
});

t.test("many jobs at once are what each would be alone", async (t) => {
  const handled: number[] = [];
  const job = testJob({ name: "test.many", attempts: 3, handle: async ({ n }) => void handled.push(n) });
  const { stop } = await startWorker(t, url, [job]);
  await stop();
  await t.rejects(
    inTransaction(db, async (tx) => {
      await client.enqueueAll(tx, "test.many", [{ n: 1 }, { n: 2 }]);
      throw new Error("changed my mind");
    }),
    /changed my mind/,
  );
  await inTransaction(db, (tx) => client.enqueueAll(tx, "test.many", []));
  t.same(await rowsOf("test.many"), []);
  await inTransaction(db, async (tx) => {
    await client.enqueue(tx, "test.many", { n: 3 });
    await client.enqueueAll(tx, "test.many", [{ n: 3 }, { n: 3 }]);
  });
  const rows = await query(url, "SELECT to_jsonb(job) - 'id' AS row FROM pgboss.job WHERE name = 'test.many'");
  t.equal(rows.length, 3);
  t.equal(new Set(rows.map(({ row }) => JSON.stringify(row))).size, 1, "in all but their ids");
  await startWorker(t, url, [job]);
  await waitFor(async () => handled.length === 3, "all three");
});

t.test("a failing job is tried `attempts` times, further and further apart, and is then a dead letter", async (t) => {
  const seen: Seen[] = [];
  const job = testJob({
    name: "test.failing",
    attempts: 3,
    handle: async ({ n }, { attempt, last }) => {
      seen.push({ n, attempt, last });
      throw new Error(`no luck with ${n}`);
    },
  });
  await startWorker(t, url, [job]);
  await enqueue("test.failing", 7);
  for (const [least, most] of [
    [2, 4],
    [4, 8],
  ] as const) {
    const { wait } = await untilState("test.failing", "retry");
    t.ok(wait > least - 1 && wait <= most, `waits ${least} to ${most} s: ${wait}`);
    await hurry("test.failing");
    const tries = seen.length;
    await waitFor(async () => seen.length > tries, "the next try");
  }
  await untilState("test.failing", "failed");
  t.same(seen, [
    { n: 7, attempt: 1, last: false },
    { n: 7, attempt: 2, last: false },
    { n: 7, attempt: 3, last: true },
  ]);
  const [letter] = await query(
    url,
    `SELECT source_name, data, source_output->>'message' AS reason, keep_until - created_on AS kept
     FROM pgboss.job WHERE name = 'dead_letters' AND source_name = 'test.failing'`,
  );
  t.match(letter, { source_name: "test.failing", data: { n: 7 }, reason: "no luck with 7", kept: { days: 90 } });
});

t.test("an outage uses up no try, not even the last", async (t) => {
  const seen: number[] = [];
  const outcomes = [new DependencyError("the store is down"), new Error("defect"), new DependencyError("down again")];
  const job = testJob({
    name: "test.outage",
    attempts: 2,
    handle: async (_data, { attempt }) => {
      seen.push(attempt);
      const error = outcomes.shift();
      if (error) throw error;
    },
  });
  await startWorker(t, url, [job]);
  await enqueue("test.outage", 1);
  for (const tries of [1, 2, 3]) {
    await waitFor(async () => seen.length === tries, `try ${tries}`);
    const [row, ...others] = await waitFor(async () => {
      const rows = await rowsOf("test.outage");
      return rows.every(({ state }) => state === "created" || state === "retry") && rows;
    }, "the job to wait");
    t.same(others, [], "it stays one job");
    t.ok(row && row.wait > 0.5, "it does not run hot");
    await hurry("test.outage");
  }
  await untilState("test.outage", "completed");
  t.same(seen, [1, 1, 2, 2]);
});

t.test("an outage of Postgres itself uses up no try either", async (t) => {
  const way = await startProxy(t, url);
  const gate = Promise.withResolvers<void>();
  const seen: number[] = [];
  const job = testJob({
    name: "test.cut",
    handle: async (_data, { attempt }) => {
      seen.push(attempt);
      if (seen.length > 1) return;
      await gate.promise;
      await query(way.url, "SELECT 1");
    },
  });
  await startWorker(t, way.url, [job]);
  await enqueue("test.cut", 1);
  await waitFor(async () => seen.length === 1, "the job to run");
  await way.cut();
  gate.resolve();
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  t.match(await rowsOf("test.cut"), exactly({ state: "active" }), "nobody could write anything down");
  await way.open();
  await untilState("test.cut", "created");
  await hurry("test.cut");
  await untilState("test.cut", "completed");
  t.same(seen, [1, 1]);
});

t.test("a job that lost its claim is not enqueued a second time", async (t) => {
  const gate = Promise.withResolvers<void>();
  const runs: Run[] = [];
  const job = testJob({
    name: "test.lost",
    handle: async (_data, run) => {
      runs.push(run);
      await gate.promise;
      throw new DependencyError("too late");
    },
  });
  const { stop } = await startWorker(t, url, [job]);
  await enqueue("test.lost", 1);
  await waitFor(async () => runs.length === 1, "the job to run");
  await query(url, "UPDATE pgboss.job SET state = 'completed', completed_on = now() WHERE name = 'test.lost'");
  await waitFor(async () => runs[0]?.signal.aborted, "the signal");
  gate.resolve();
  await stop();
  t.match(await rowsOf("test.lost"), exactly({ state: "completed" }));
});

t.test("a backlog is drained without waiting for polls", async (t) => {
  const handled: number[] = [];
  const job = testJob({ name: "test.backlog", handle: async ({ n }) => void handled.push(n) });
  await startWorker(t, url, [job]);
  const numbers = Array.from({ length: 200 }, (_, n) => n);
  await enqueue("test.backlog", ...numbers);
  // One a poll would be one a second: more than is waited for.
  await waitFor(async () => handled.length >= 200, "all of them");
  t.same(
    handled.toSorted((a, b) => a - b),
    numbers,
  );
});

t.test("two workers share a queue, and no job is run twice", async (t) => {
  const handled = { a: [] as number[], b: [] as number[] };
  for (const who of ["a", "b"] as const) {
    const handle = async ({ n }: { n: number }) => {
      handled[who].push(n);
      await new Promise((resolve) => setTimeout(resolve, 5));
    };
    await startWorker(t, url, [testJob({ name: "test.shared", handle })]);
  }
  const numbers = Array.from({ length: 60 }, (_, n) => n);
  await enqueue("test.shared", ...numbers);
  await waitFor(async () => (await rowsOf("test.shared")).every(({ state }) => state === "completed"), "all of them");
  t.ok(handled.a.length > 0 && handled.b.length > 0, `${handled.a.length} and ${handled.b.length}`);
  t.same(
    [...handled.a, ...handled.b].sort((a, b) => a - b),
    numbers,
  );
});

t.test("a job that hangs holds up one place and nobody else's result", async (t) => {
  const gate = Promise.withResolvers<void>();
  t.teardown(() => gate.resolve());
  let running = 0;
  let most = 0;
  const job = testJob({
    name: "test.neighbours",
    concurrency: 2,
    handle: async ({ n }) => {
      most = Math.max(most, ++running);
      if (n === 0) await gate.promise;
      running--;
    },
  });
  await startWorker(t, url, [job]);
  await enqueue("test.neighbours", 0, 1, 2, 3, 4);
  await waitFor(
    async () => (await rowsOf("test.neighbours")).filter(({ state }) => state === "completed").length === 4,
    "the four others to be completed",
  );
  t.equal(most, 2, "`concurrency` is the most that run at once");
  gate.resolve();
  await waitFor(async () => (await rowsOf("test.neighbours")).every(({ state }) => state === "completed"), "the last");
});

t.test("a stop waits for what runs and takes nothing more", async (t) => {
  const gate = Promise.withResolvers<void>();
  const handled: number[] = [];
  const job = testJob({
    name: "test.graceful",
    handle: async ({ n }) => {
      handled.push(n);
      await gate.promise;
    },
  });
  const { stop } = await startWorker(t, url, [job]);
  await enqueue("test.graceful", 1, 2);
  await waitFor(async () => handled.length === 1, "the first to run");
  let stopped = false;
  const stopping = stop().then(() => {
    stopped = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.notOk(stopped, "it waits");
  gate.resolve();
  await stopping;
  t.same(handled, [1]);
  t.same((await rowsOf("test.graceful")).map(({ state }) => state).sort(), ["completed", "created"]);
});

t.test("a stop whose time is up gives the job back, with its try", async (t) => {
  const runs: Run[] = [];
  const hang = testJob({
    name: "test.returned",
    handle: async (_data, run) => {
      runs.push(run);
      await new Promise(() => undefined);
    },
  });
  const { stop } = await startWorker(t, url, [hang]);
  await enqueue("test.returned", 1);
  await waitFor(async () => runs.length === 1, "the job to run");
  await stop(2_000);
  t.equal(runs[0]?.signal.aborted, true, "the handler is told");
  await hurry("test.returned");
  const attempts: number[] = [];
  const finish = testJob({ name: "test.returned", handle: async (_data, { attempt }) => void attempts.push(attempt) });
  await startWorker(t, url, [finish]);
  await untilState("test.returned", "completed");
  t.same(attempts, [1]);
});

t.test("a killed worker's job is taken over; one that is busy keeps its own", async (t) => {
  const busy = Promise.withResolvers<void>();
  let busyRuns = 0;
  const attempts: number[] = [];
  const jobs = [
    testJob({
      name: "test.busy",
      attempts: 3,
      handle: async () => {
        busyRuns++;
        await busy.promise;
      },
    }),
    testJob({ name: "test.killed", attempts: 3, handle: async (_data, { attempt }) => void attempts.push(attempt) }),
  ];
  await startWorker(t, url, jobs.slice(0, 1));
  await enqueue("test.busy", 1);

  const child = spawn(process.execPath, [HELD_JOB, url, "test.killed"], { stdio: ["ignore", "pipe", "inherit"] });
  await waitFor(
    async () => (await query(url, "SELECT FROM pgboss.queue WHERE name = 'test.killed'")).length === 1,
    "it",
  );
  await enqueue("test.killed", 1);
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await once(child, "exit");
  await startWorker(t, url, jobs.slice(1));
  await untilState("test.killed", "completed");
  t.same(attempts, [2]);
  busy.resolve();
  await untilState("test.busy", "completed");
  t.equal(busyRuns, 1, "a handler that works longer than the heartbeat is not taken for dead");
});

t.test("the clock's jobs are those of the features that are on", async (t) => {
  const schedules = async () =>
    (await query(url, "SELECT name FROM pgboss.schedule WHERE name LIKE 'test.%' ORDER BY name")).map(
      ({ name }) => name,
    );
  const on = testJob({ name: "test.on", schedule: "* * * * *", handle: async () => undefined });
  const off = testJob({ name: "test.off", schedule: "* * * * *", handle: async () => undefined });
  const first = await startWorker(t, url, [on, off]);
  t.same(await schedules(), ["test.off", "test.on"]);
  await first.stop();
  const second = await startWorker(t, url, [on], [off]);
  t.same(await schedules(), ["test.on"]);
  await second.stop();

  const both = await startWorker(t, url, [on, off], [], { rescheduleEvery: 100 });
  const third = await startWorker(t, url, [on], [off]);
  await waitFor(async () => (await schedules()).includes("test.off"), "the worker that has it on to see to it");
  await both.stop();
  await third.stop();
});

t.test("what changes in a job's definition reaches its queue", async (t) => {
  const limits = () =>
    query(url, "SELECT retry_limit, expire_seconds, notify FROM pgboss.queue WHERE name = 'test.changed'");
  const handle = async () => undefined;
  await startWorker(t, url, [testJob({ name: "test.changed", handle })]);
  t.same(await limits(), [{ retry_limit: 0, expire_seconds: 60, notify: true }]);
  await startWorker(t, url, [testJob({ name: "test.changed", attempts: 5, expireSeconds: 9, urgent: false, handle })]);
  t.same(await limits(), [{ retry_limit: 4, expire_seconds: 9, notify: false }]);
});

t.test("a queue that is closed leaves nothing open", async (t) => {
  const open = () => process.getActiveResourcesInfo().filter((name) => /TCP|Pipe|Timeout/.test(name)).length;
  await query(url, "SELECT 1");
  const before = open();
  const { queue, stop } = await startWorker(t, url, [testJob({ name: "test.closed", handle: async () => undefined })]);
  await stop();
  await queue.close();
  await waitFor(async () => open() <= before, `${before} resources again`);
});
