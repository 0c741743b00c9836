import pg from "pg";
import t from "tap";
import type { Client, SignedIn } from "../support/client.ts";
import { run, startServer, waitFor } from "../support/server.ts";
import { startService } from "../support/service.ts";

const service = await startService(t);
const { client } = service;
const second = await startServer(service.env);
t.teardown(() => second.stop());
const sql = new pg.Pool({ connectionString: service.databaseUrl, max: 2 });
t.teardown(() => sql.end());

async function logIn({ username, password }: Pick<SignedIn, "username" | "password">, by: Client = client) {
  const answer = await by.request("POST", "/auth/login", {
    json: { login: username, password },
    headers: { "user-agent": "a test" },
  });
  const token: string = answer.body.token ?? "none";
  return { status: answer.status, token, session: client.as(token) };
}

function changePassword(session: Client, current_password: string, new_password: string) {
  return session.request("POST", "/me/password", { json: { current_password, new_password } });
}

const sessionsOf = async (session: Client, query = "") => (await session.request("GET", `/auth/sessions${query}`)).body;

t.test("sessions are listed, by pages, and ended one by one", async (t) => {
  const ana = await client.register("ana");
  const others = [];
  for (let index = 0; index < 4; index++) others.push((await logIn(ana)).session);
  const { items, next_cursor } = await sessionsOf(ana);
  t.equal(items.length, 5);
  t.equal(next_cursor, null);
  t.strictSame(
    items.map(({ current }: { current: boolean }) => current),
    [false, false, false, false, true],
    "latest first; who asks with the first one sees it last",
  );
  t.match(items[0], { address: "127.0.0.1", user_agent: "a test" });
  t.notMatch(JSON.stringify(items), /token|hash/);

  // In one millisecond, as the cursor must tell those apart too.
  await sql.query("UPDATE sessions SET created_at = now()");
  const seen = [];
  for (let cursor = ""; ; ) {
    const page = await sessionsOf(ana, `?limit=2${cursor}`);
    seen.push(...page.items.map(({ id }: { id: string }) => id));
    if (page.next_cursor === null) break;
    cursor = `&cursor=${page.next_cursor}`;
  }
  t.strictSame([...seen].sort(), items.map(({ id }: { id: string }) => id).sort());
  t.equal(new Set(seen).size, 5, "each on one page");

  const [latest] = items;
  const bob = await client.register("bob");
  const end = (session: Client, id: string) => session.request("DELETE", `/auth/sessions/${id}`);
  for (const [session, id] of [
    [bob, latest.id],
    [ana, "0198f0a4-0000-7000-8000-000000000000"],
    [ana, "nonsense"],
    [ana, "%00"],
  ] as const) {
    const refused = await end(session, id);
    t.strictSame([refused.status, refused.body.error.code], [404, "SESSION_NOT_FOUND"], id);
  }
  t.equal((await others[3]?.request("GET", "/me"))?.status, 200, "still there");
  t.equal((await end(ana, latest.id)).status, 204);
  t.equal((await others[3]?.request("GET", "/me"))?.status, 401);
  t.equal((await end(ana, latest.id)).status, 404);
  t.equal((await sessionsOf(ana)).items.length, 4);

  const own = items.find(({ current }: { current: boolean }) => current);
  t.equal((await end(ana, own.id)).status, 204, "one's own too");
  t.equal((await ana.request("GET", "/me")).status, 401);

  await sql.query("UPDATE sessions SET last_used_at = now() - interval '91 days' WHERE user_id = $1", [bob.id]);
  const later = (await logIn(bob)).session;
  t.equal((await sessionsOf(later)).items.length, 1, "what has ended by itself is not listed");
});

t.test("a new password ends all sessions but the one that set it", async (t) => {
  const carla = await client.register("carla");
  const other = (await logIn(carla)).session;
  for (const [current, next, status, code] of [
    ["not the password", "a new password", 403, "WRONG_PASSWORD"],
    [carla.password, "short", 422, "INVALID_VALUE"],
    ["", "a new password", 403, "WRONG_PASSWORD"],
  ] as const) {
    const { status: got, body } = await changePassword(carla, current, next);
    t.strictSame([got, body.error.code], [status, code]);
  }
  t.equal((await other.request("GET", "/me")).status, 200, "a refused change ends nothing");
  t.equal((await changePassword(carla, carla.password, "пароль 密码 🔑")).status, 204);
  t.equal((await carla.request("GET", "/me")).status, 200);
  t.equal((await other.request("GET", "/me")).status, 401);
  t.equal((await logIn(carla)).status, 401);
  t.equal((await logIn({ username: "carla", password: "пароль 密码 🔑" })).status, 200);
});

t.test("no session that began with the old password outlives the change", async (t) => {
  for (let round = 0; round < 6; round++) {
    const dora = await client.register(`dora${round}`);
    const next = `the new password ${round}`;
    const logins = Array.from({ length: 8 }, (_, index) => logIn(dora, index % 2 ? client : second.client));
    const [changed, ...begun] = await Promise.all([changePassword(dora, dora.password, next), ...logins]);
    t.equal(changed.status, 204);
    for (const { session } of begun) t.equal((await session.request("GET", "/me")).status, 401, `round ${round}`);
    const { items } = await sessionsOf(dora);
    t.equal(items.length, 1);
  }
});

t.test("of two changes of a password at once one is told that the password is another", async (t) => {
  const emil = await client.register("emil");
  const changes = await Promise.all(
    [1, 2, 3, 4].map((index) =>
      changePassword(index % 2 ? emil : second.client.as(emil.token), emil.password, `password number ${index}`),
    ),
  );
  t.strictSame(changes.map(({ status }) => status).sort(), [204, 403, 403, 403]);
  const winner = 1 + changes.findIndex(({ status }) => status === 204);
  t.equal((await logIn({ username: "emil", password: `password number ${winner}` })).status, 200);
});

t.test("what ends on one server ends on all, and at once where it was asked for", async (t) => {
  const fay = await client.register("fay");
  const servers = [client, second.client];
  const statusOn = async (server: Client, token: string) => (await server.as(token).request("GET", "/me")).status;
  // Both have just let it in, and so know whose it is.
  const knownToBoth = async (token: string) => {
    for (const server of servers) t.equal(await statusOn(server, token), 200);
  };
  const refusedByOther = (token: string) =>
    waitFor(async () => (await statusOn(second.client, token)) === 401, "the other server to refuse it");

  const [first = "", other = "", third = ""] = [await logIn(fay), await logIn(fay), await logIn(fay)].map(
    ({ token }) => token,
  );
  for (const token of [first, other, third]) await knownToBoth(token);
  t.equal((await client.as(first).request("POST", "/auth/logout")).status, 204);
  t.equal(await statusOn(client, first), 401);
  await refusedByOther(first);

  await knownToBoth(third);
  t.equal((await changePassword(client.as(other), fay.password, "another password")).status, 204);
  t.equal(await statusOn(client, third), 401);
  await refusedByOther(third);

  await knownToBoth(other);
  t.equal((await client.as(other).request("PATCH", "/me", { json: { username: "faye" } })).status, 200);
  for (const [command, status] of [
    ["suspend", 401],
    ["unsuspend", 200],
    ["delete", 401],
  ] as const) {
    t.equal((await run(["users", command, "faye"], service.env)).code, 0);
    for (const server of servers) {
      await waitFor(async () => (await statusOn(server, other)) === status, `both to know of users ${command}`);
    }
  }
});
