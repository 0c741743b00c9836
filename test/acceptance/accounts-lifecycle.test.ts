import pg from "pg";
import t from "tap";
import type { Client, Json } from "../support/client.ts";
import { exactly } from "../support/exactly.ts";
import { picture } from "../support/pictures.ts";
import { run, startServer, waitFor } from "../support/server.ts";
import { publish, startService } from "../support/service.ts";

const service = await startService(t);
const { client, env } = service;
const sql = new pg.Pool({ connectionString: service.databaseUrl, max: 2 });
t.teardown(() => sql.end());

/** Runs a command with --json. @returns what it printed, and its exit as `exit`. */
async function tintype(...args: string[]): Promise<Json> {
  const { code, stdout, stderr } = await run([...args, "--json"], env);
  return { ...JSON.parse(stdout), exit: code, stderr };
}

const logIn = (login: string, password: string) => client.request("POST", "/auth/login", { json: { login, password } });
const erased = (id: string) =>
  waitFor(
    async () => (await sql.query("SELECT FROM users WHERE id = $1", [id])).rowCount === 0,
    `the account ${id} to be gone`,
  );
const deleteMe = (session: Client, password: string) => session.request("DELETE", "/me", { json: { password } });

t.test("a suspended account is kept out and hidden, and comes back as it was", async (t) => {
  const ana = await client.register("ana");
  const bob = await client.register("bob");
  const post = await publish(ana, [await picture({ width: 16, height: 16 })]);
  await bob.request("POST", "/users/ana/follow");
  t.match(await tintype("users", "suspend", "Ana"), { exit: 0, username: "ana", state: "suspended", changed: true });
  t.match(await tintype("users", "suspend", "ana"), { exit: 0, changed: false }, "once more changes nothing");

  t.equal((await ana.request("GET", "/me")).status, 401);
  const right = await logIn("ana", ana.password);
  t.strictSame([right.status, right.body.error.code], [403, "ACCOUNT_SUSPENDED"]);
  const wrong = await logIn("ana", `${ana.password}!`);
  t.strictSame([wrong.status, wrong.body.error.code], [401, "WRONG_CREDENTIALS"], "told only who has the password");
  for (const path of ["/users/ana", `/posts/${post.id}`]) t.equal((await bob.request("GET", path)).status, 404, path);

  const shown = await tintype("users", "show", "ana");
  t.match(shown, { state: "suspended", email: "ana@example.org", email_confirmed: false, sessions: 1, blocks: 0 });
  t.match(shown, { follow_requests: 0, created_at: /Z$/, last_used_at: /Z$/ });
  const names = async (...flags: string[]) =>
    (await tintype("users", "list", ...flags)).users.map(({ username }: Json) => username);
  t.strictSame(await names("--state", "suspended"), ["ana"]);
  t.strictSame(await names("--state", "active"), ["bob"]);
  t.strictSame(await names(), ["bob", "ana"]);
  t.match((await run(["users", "list"], env)).stdout, /^ana +suspended /m);

  t.match(await tintype("users", "unsuspend", "ana"), { exit: 0, username: "ana", state: "active", changed: true });
  t.match(await tintype("users", "unsuspend", "ana"), { exit: 0, changed: false });
  t.equal((await ana.request("GET", "/me")).status, 200, "its session is good again");
  t.equal((await bob.request("GET", `/posts/${post.id}`)).status, 200);
  for (const command of ["suspend", "unsuspend", "delete", "reset-password"]) {
    t.match(await tintype("users", command, "nobody.here"), { exit: 1, error: { code: "USER_NOT_FOUND" } }, command);
  }
});

t.test("one deletes one's own account: it is gone at once, its name free after 30 days", async (t) => {
  const carla = await client.register("carla");
  const dora = await client.register("dora");
  const post = await publish(carla, [await picture({ width: 16, height: 16 })]);
  await dora.request("POST", "/users/carla/follow");
  await carla.request("POST", "/users/dora/follow");
  await carla.request("PATCH", "/me", { json: { username: "carla.two" } });
  const wrong = await deleteMe(carla, "not the password");
  t.strictSame([wrong.status, wrong.body.error.code], [403, "WRONG_PASSWORD"]);
  t.equal((await carla.request("DELETE", "/me")).status, 400, "without a password");
  t.equal((await carla.request("GET", "/me")).status, 200, "nothing has happened");

  const gone = await deleteMe(carla, carla.password);
  t.strictSame([gone.status, gone.body], [202, { status: "deleting" }]);
  t.equal((await carla.request("GET", "/me")).status, 401);
  t.equal((await logIn("carla.two", carla.password)).status, 401, "as if it had never been");
  for (const path of ["/users/carla.two", `/posts/${post.id}`]) {
    t.equal((await dora.request("GET", path)).status, 404, path);
  }
  await erased(carla.id);
  for (const counted of ["follower_count", "following_count"]) {
    t.equal((await dora.request("GET", "/me")).body[counted], 0, counted);
  }
  const register = (username: string) =>
    client.request("POST", "/auth/register", {
      json: { username, email: "carla@example.org", password: "a long password" },
    });
  for (const name of ["carla.two", "carla"]) t.equal((await register(name)).status, 409, `${name} is kept`);
  const { rows } = await sql.query(
    "SELECT username, holder_id, free_at - now() AS held FROM reserved_usernames ORDER BY username",
  );
  t.match(
    rows,
    exactly(
      { username: "carla", holder_id: null, held: { days: 13 } },
      { username: "carla.two", holder_id: null, held: { days: 29 } },
    ),
  );
  await sql.query("UPDATE reserved_usernames SET free_at = now()");
  t.equal((await register("carla.two")).status, 201, "then it is anybody's, and so is the email");
});

t.test("an account is deleted once, whoever asks how often", async (t) => {
  const second = await startServer(env);
  t.teardown(() => second.stop());
  const emil = await client.register("emil");
  const answers = await Promise.all(
    [1, 2, 3, 4].map((index) => deleteMe(index % 2 ? emil : second.client.as(emil.token), emil.password)),
  );
  t.ok(answers.some(({ status }) => status === 202));
  // Whose session was gone before it was looked at.
  for (const { status } of answers) t.ok(status === 202 || status === 401, `${status}`);
  await erased(emil.id);
  const { rows } = await sql.query(
    "SELECT count(*)::int AS n FROM pgboss.job WHERE name = 'accounts.delete' AND data->>'user_id' = $1",
    [emil.id],
  );
  t.equal(rows[0]?.n, 1, "one job");
});

t.test("an operator deletes an account", async (t) => {
  const frida = await client.register("frida");
  const gerda = await client.register("gerda");
  await publish(frida, [await picture({ width: 16, height: 16 }), await picture({ width: 20, height: 16 })]);
  await gerda.request("POST", "/users/frida/follow");
  const counts = { username: "frida", posts: 1, media: 2, followers: 1, following: 0 };
  const asked = await tintype("users", "delete", "frida", "--dry-run");
  t.match(asked, { ...counts, exit: 0, state: "active", dry_run: true });
  t.equal((await frida.request("GET", "/me")).status, 200, "nothing has happened");
  await tintype("users", "suspend", "frida");
  t.match(await tintype("users", "delete", "frida"), { ...counts, exit: 0, state: "deleting", dry_run: false });
  await erased(frida.id);
  t.match(await tintype("users", "delete", "frida"), { exit: 1, error: { code: "USER_NOT_FOUND" } });
  t.equal((await gerda.request("GET", "/me")).body.following_count, 0);
});

t.test("a deletion goes on, whatever ends it", async (t) => {
  const hanna = await client.register("hanna");
  // A row that refers to the account and that no feature removes: as if it had come in between.
  await sql.query("CREATE TABLE leftovers (user_id uuid REFERENCES users (id))");
  t.teardown(() => sql.query("DROP TABLE IF EXISTS leftovers"));
  await sql.query("INSERT INTO leftovers VALUES ($1)", [hanna.id]);
  t.equal((await deleteMe(hanna, hanna.password)).status, 202);
  const job = (state: string) =>
    waitFor(
      async () =>
        (
          await sql.query(
            "SELECT FROM pgboss.job WHERE name = 'accounts.delete' AND data->>'user_id' = $1 AND state = $2",
            [hanna.id, state],
          )
        ).rowCount === 1,
      `the job to be in ${state}`,
    );
  await job("retry");
  t.match(await tintype("users", "show", "hanna"), { exit: 0, state: "deleting", sessions: 0 });
  for (const command of ["suspend", "unsuspend", "reset-password"]) {
    t.match(await tintype("users", command, "hanna"), { exit: 1, error: { code: "OperationError" } }, command);
  }
  t.match(await tintype("users", "delete", "hanna"), { exit: 0, state: "deleting" }, "idempotent");
  t.equal((await logIn("hanna", hanna.password)).status, 401);

  // The last try has failed, and somebody purged its dead letter.
  await sql.query("DELETE FROM pgboss.job WHERE name = 'accounts.delete' AND data->>'user_id' = $1", [hanna.id]);
  await sql.query("DELETE FROM leftovers");
  const sweep = async () => {
    await sql.query("INSERT INTO pgboss.job (name, data) VALUES ('accounts.sweep', '{}')");
    await waitFor(
      async () =>
        (await sql.query("SELECT FROM pgboss.job WHERE name = 'accounts.sweep' AND state < 'completed'")).rowCount ===
        0,
      "the sweep",
    );
  };
  await sweep();
  const there = await sql.query("SELECT FROM users WHERE id = $1", [hanna.id]);
  t.equal(there.rowCount, 1, "not before an hour has passed");
  await sql.query("UPDATE users SET state_changed_at = now() - interval '61 minutes' WHERE id = $1", [hanna.id]);
  await sweep();
  await erased(hanna.id);
});

t.test("a deletion that is killed goes on where it was", async (t) => {
  const lara = await client.register("lara");
  const mona = await client.register("mona");
  await publish(lara, [await picture({ width: 16, height: 16 })]);
  await mona.request("POST", "/users/lara/follow");
  // Whatever it does to the row of the account waits for this.
  const holder = await sql.connect();
  await holder.query("BEGIN");
  await holder.query("SELECT FROM users WHERE id = $1 FOR SHARE", [mona.id]);
  const worker = await startServer(env);
  t.teardown(() => worker.stop());
  await service.server.stop();
  const asked = worker.client.as(lara.token).request("DELETE", "/me", { json: { password: lara.password } });
  t.equal((await asked).status, 202);
  await waitFor(
    async () =>
      (await sql.query("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"))
        .rowCount === 1,
    "the deletion to wait for the lock",
  );
  await worker.kill();
  await holder.query("ROLLBACK");
  holder.release();
  t.equal((await sql.query("SELECT FROM users WHERE id = $1", [lara.id])).rowCount, 1, "half done");
  const next = await startServer(env);
  t.teardown(() => next.stop());
  await erased(lara.id);
  const me = await next.client.as(mona.token).request("GET", "/me");
  t.match(me.body, { following_count: 0 });
  const left = await sql.query(
    `SELECT (SELECT count(*) FROM posts WHERE user_id = $1) + (SELECT count(*) FROM follows WHERE following_id = $1) AS n`,
    [lara.id],
  );
  t.equal(left.rows[0]?.n, "0");
});
