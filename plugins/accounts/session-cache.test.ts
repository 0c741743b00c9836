import { randomBytes } from "node:crypto";
import t from "tap";
import { inTransaction } from "../../src/db/transaction.ts";
import { createNotices, type NoticeTopic } from "../../src/notices.ts";
import { testDatabase } from "../../test/support/database.ts";
import { openDb, silent } from "../../test/support/product/database.ts";
import { startProxy } from "../../test/support/proxy.ts";
import { waitFor } from "../../test/support/server.ts";
import { forgettingSessions, keptViewer } from "./session-cache.ts";

const database = await testDatabase(t);
const db = openDb(t, database.url);

/** A server, as far as sessions go. */
async function server(t: { teardown(end: () => unknown): void }, url = database.url) {
  const { notices, listen } = createNotices();
  t.teardown(listen({ connectionString: url }, silent));
  let found = 0;
  const viewer = { id: "ana", username: "ana", session_id: "one" };
  const ask = async (token: Buffer, { left = 60_000, meanwhile = async () => {} } = {}) => {
    const before = found;
    await keptViewer(notices, token, async () => {
      found++;
      await meanwhile();
      return { viewer, left };
    });
    return found === before ? "kept" : "found";
  };
  const live = () => waitFor(async () => notices.live, "notices to be live");
  await live();
  return {
    notices,
    ask,
    /** The same, however late the heartbeats of a busy machine. */
    askLive: async (token: Buffer) => {
      await live();
      return ask(token);
    },
  };
}

const newToken = () => randomBytes(32);

t.test("a session is asked for once, until a notice of its account comes", async (t) => {
  const [here, there] = [await server(t), await server(t)];
  const [token, next] = [newToken(), newToken()];
  let heard = 0;
  for (const topic of ["account.changed", "account.sessions_ended"] satisfies NoticeTopic[]) {
    for (const { ask, askLive } of [here, there]) {
      await ask(token);
      await ask(next);
      t.strictSame([await askLive(token), await askLive(next)], ["kept", "kept"]);
    }
    // Heard after what the cache heard.
    const stop = there.notices.on(topic, () => heard++);
    const before = heard;
    await inTransaction(db, (tx) => here.notices.tell(tx, topic, "bob"));
    await waitFor(async () => heard > before, "the notice of another");
    t.equal(await there.askLive(token), "kept");
    await forgettingSessions(here.notices, "ana", () => inTransaction(db, (tx) => here.notices.tell(tx, topic, "ana")));
    t.equal(await here.ask(token), "found", "at once where it happened");
    await waitFor(async () => heard > before + 1, "the notice");
    t.strictSame([await there.ask(token), await there.ask(next)], ["found", "found"], topic);
    stop();
  }
});

t.test("nobody is kept who was found before the change", async (t) => {
  const { notices, ask, askLive } = await server(t);
  const token = newToken();
  const change = () => forgettingSessions(notices, "ana", async () => undefined);
  t.equal(await ask(token, { meanwhile: change }), "found");
  t.equal(await ask(token), "found", "the answer was older than the change");
  t.equal(await askLive(token), "kept");
  const failing = forgettingSessions(notices, "ana", () => Promise.reject(new Error("no answer to a commit")));
  await t.rejects(failing, /no answer/);
  t.equal(await ask(token), "found", "who knows whether it happened");
});

t.test("no session is kept longer than it lasts", async (t) => {
  const { ask, askLive } = await server(t);
  const [ended, long, short] = [newToken(), newToken(), newToken()];
  await ask(ended, { left: 0.5 });
  t.equal(await ask(ended), "found");
  await ask(long);
  await ask(short, { left: 100 });
  await waitFor(async () => (await ask(short)) === "found", "the session to end");
  t.equal(await askLive(long), "kept", "another is kept meanwhile");
});

t.test("nothing kept is used while notices do not come, or after some may have been missed", async (t) => {
  const proxy = await startProxy(t, database.url);
  const { notices, ask, askLive } = await server(t, proxy.url);
  const token = newToken();
  await ask(token);
  t.equal(await askLive(token), "kept");
  proxy.hang();
  await waitFor(async () => !notices.live, "the heartbeats to be missed");
  t.equal(await ask(token), "found");
  t.equal(await ask(token), "found");
  await proxy.cut();
  await proxy.open();
  t.equal(await askLive(token), "found");
  t.equal(await askLive(token), "kept");
});
