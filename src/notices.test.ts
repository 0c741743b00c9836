import t from "tap";
import { testDatabase } from "../test/support/database.ts";
import { openDb, query, silent } from "../test/support/product/database.ts";
import { startProxy } from "../test/support/proxy.ts";
import { waitFor } from "../test/support/server.ts";
import { inTransaction } from "./db/transaction.ts";
import { createNotices } from "./notices.ts";

declare module "./notices.ts" {
  interface NoticeTopics {
    "test.changed": "a word";
    "test.other": "a word";
  }
}

const database = await testDatabase(t);
const db = openDb(t, database.url);

/** A process, as far as notices go. */
function listening(t: { teardown(end: () => unknown): void }, { url = database.url, name = "a process" } = {}) {
  const { notices, listen } = createNotices();
  const heard: string[] = [];
  notices.on("test.changed", (id) => heard.push(id));
  notices.onGap(() => heard.push("gap"));
  const end = listen({ connectionString: url, application_name: name }, silent);
  t.teardown(end);
  return { notices, heard, end };
}

const live = (...processes: ReturnType<typeof listening>[]) =>
  waitFor(async () => processes.every(({ notices }) => notices.live), "notices to be live");

const tell = (id: string) => inTransaction(db, (tx) => notices.tell(tx, "test.changed", id));
// Tells, as a command does, and hears nothing.
const { notices } = createNotices();

t.test("what is committed is told to everybody, in order, and what is rolled back to nobody", async (t) => {
  const [one, other] = [listening(t), listening(t)];
  const others: string[] = [];
  const stop = other.notices.on("test.other", (id) => others.push(id));
  await live(one, other);
  await inTransaction(db, async (tx) => {
    await one.notices.tell(tx, "test.changed", "first");
    await one.notices.tell(tx, "test.changed", "first");
    await one.notices.tell(tx, "test.other", "something else");
  });
  await t.rejects(
    inTransaction(db, async (tx) => {
      await one.notices.tell(tx, "test.changed", "never");
      throw new Error("rolled back");
    }),
    /rolled back/,
  );
  await t.rejects(tell("x".repeat(101)), /101/);
  await tell("last");
  for (const { heard } of [one, other]) {
    await waitFor(async () => heard.includes("last"), "the last notice");
    t.strictSame(heard, ["gap", "first", "last"], "it begins with a gap");
  }
  t.strictSame(others, ["something else"]);
  stop();
  await inTransaction(db, (tx) => notices.tell(tx, "test.other", "unheard"));
  await tell("after it");
  await waitFor(async () => other.heard.includes("after it"), "the notice after it");
  t.strictSame(others, ["something else"]);
  t.equal(notices.live, false, "who does not listen hears nothing");
});

t.test("a broken connection is a gap, then there is another", async (t) => {
  const broken = listening(t, { name: "to be broken" });
  await live(broken);
  await query(
    database.url,
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'to be broken'",
  );
  await waitFor(async () => !broken.notices.live, "the loss to be seen");
  await live(broken);
  await tell("afterwards");
  await waitFor(async () => broken.heard.includes("afterwards"), "a notice on the new connection");
  t.strictSame(broken.heard, ["gap", "gap", "afterwards"]);
});

t.test("a connection that hangs is not believed, and given up for another", async (t) => {
  const proxy = await startProxy(t, database.url);
  const hung = listening(t, { url: proxy.url });
  await live(hung);
  proxy.hang();
  await waitFor(async () => !hung.notices.live, "the heartbeats to be missed");
  await tell("missed");
  await proxy.cut();
  await proxy.open();
  await live(hung);
  await tell("afterwards");
  await waitFor(async () => hung.heard.includes("afterwards"), "a notice on the new connection");
  t.strictSame(hung.heard, ["gap", "gap", "afterwards"]);
});

t.test("a server that is away keeps nobody from starting, nor from ending", async (t) => {
  const proxy = await startProxy(t, database.url);
  await proxy.cut();
  const late = listening(t, { url: proxy.url });
  const ending = listening(t, { url: proxy.url });
  await ending.end();
  t.strictSame(ending.heard, []);
  await proxy.open();
  await live(late);
  proxy.hang();
  const whileHung = listening(t, { url: proxy.url });
  await late.end();
  await whileHung.end();
  t.equal(late.notices.live, false);
  t.strictSame(whileHung.heard, []);
});

t.test("a handler that fails makes a gap", async (t) => {
  const failing = listening(t);
  failing.notices.on("test.changed", (id) => {
    if (id === "hard") throw new Error("not taken in");
  });
  await live(failing);
  await tell("hard");
  await waitFor(async () => failing.heard.filter((id) => id === "gap").length === 2, "the gap");
  await live(failing);
});
