import pg from "pg";
import t from "tap";
import type { Client } from "../support/client.ts";
import { run, startServer, waitFor } from "../support/server.ts";
import { startService } from "../support/service.ts";
import { linkIn, startMailServer } from "../support/smtp.ts";

const service = await startService(t);
const { client, env } = service;
const second = await startServer(env);
t.teardown(() => second.stop());
const sql = new pg.Pool({ connectionString: service.databaseUrl, max: 2 });
t.teardown(() => sql.end());

function rename(session: Client, username: string) {
  return session.request("PATCH", "/me", { json: { username } });
}

function register(username: string, by: Client = client, extra: object = {}) {
  const json = { username, email: `${username}@mail.example.org`, password: "a long password", ...extra };
  return by.request("POST", "/auth/register", { json });
}

/** The time for which a name is kept is over. */
const freeName = (username: string) =>
  sql.query("UPDATE reserved_usernames SET free_at = now() WHERE username = $1", [username]);

t.test("a new name is there at once, the old one leads nowhere and is kept", async (t) => {
  const ana = await client.register("ana");
  const bob = await client.register("bob");
  const answer = await rename(ana, "Anna.Bee");
  t.equal(answer.status, 200);
  t.match(answer.body, { id: ana.id, username: "anna.bee" });
  t.equal((await ana.request("GET", "/me")).body.username, "anna.bee", "the session stays");
  t.equal((await bob.request("GET", "/users/anna.bee")).body.id, ana.id);
  t.equal((await bob.request("GET", "/users/ana")).status, 404);
  const logIn = (login: string) => client.request("POST", "/auth/login", { json: { login, password: ana.password } });
  t.equal((await logIn("anna.bee")).status, 200);
  t.equal((await logIn("ana")).status, 401);

  for (const refused of [await rename(bob, "ana"), await rename(bob, "ANNA.BEE"), await register("Ana")]) {
    t.strictSame([refused.status, refused.body.error.code], [409, "USERNAME_TAKEN"]);
  }
  const made = await run(["users", "create", "ana", "--email", "a@b.example", "--password-stdin", "--json"], env, {
    stdin: "a long password",
  });
  t.match(JSON.parse(made.stdout), { error: { code: "USERNAME_TAKEN" } });
  t.equal((await bob.request("GET", "/me")).body.username, "bob", "what was refused changed nothing");
  const { rows } = await sql.query("SELECT free_at - now() AS held FROM reserved_usernames WHERE username = 'ana'");
  t.equal(rows[0]?.held.days, 13, "14 days less some milliseconds");

  await freeName("ana");
  t.equal((await rename(bob, "ana")).status, 200);
  t.equal((await client.register("bob2")).username, "bob2");
});

t.test("what a name may be is said as ever, and nothing named changes nothing", async (t) => {
  const carla = await client.register("carla");
  for (const [username, status] of [
    ["ca", 422],
    ["c".repeat(31), 422],
    ["carla!", 422],
    ["càrla", 422],
    ["carla\0", 422],
    ["", 422],
    [null, 400],
    [12, 400],
  ] as const) {
    const refused = await carla.request("PATCH", "/me", { json: { username } });
    t.equal(refused.status, status, JSON.stringify(username));
  }
  t.equal((await rename(carla, "CARLA")).status, 200);
  const { rowCount } = await sql.query("SELECT FROM reserved_usernames WHERE username = 'carla'");
  t.equal(rowCount, 0, "the same name is not given up");
  const all = { username: "car", display_name: "Carla", bio: "b", is_private: true };
  t.match((await carla.request("PATCH", "/me", { json: all })).body, all, "all at once");
  t.match((await carla.request("PATCH", "/me", { json: { is_private: false } })).body, { ...all, is_private: false });
  t.equal((await rename(carla, "c".repeat(30))).status, 200);
});

t.test("one's own old name can be taken back, and at most five are kept", async (t) => {
  const dora = await client.register("dora");
  for (let round = 0; round < 6; round++) {
    t.equal((await rename(dora, round % 2 ? "dora" : "dora.two")).status, 200, "to and fro holds one name alone");
  }
  for (const name of ["dora.1", "dora.2", "dora.3", "dora.4"]) t.equal((await rename(dora, name)).status, 200, name);
  const held = await sql.query(
    "SELECT username, free_at FROM reserved_usernames WHERE holder_id = $1 ORDER BY free_at",
    [dora.id],
  );
  t.equal(held.rowCount, 5);
  const refused = await rename(dora, "dora.5");
  t.strictSame([refused.status, refused.body.error.code], [409, "USERNAME_CHANGED_TOO_OFTEN"]);
  const first = held.rows[0]?.free_at.toISOString();
  t.equal(refused.body.error.details.free_at, first, "says when it goes on");
  t.match(refused.body.error.message, first);
  t.equal((await dora.request("GET", "/me")).body.username, "dora.4");
  t.equal((await rename(dora, "dora.2")).status, 200, "an old one may be taken back all the same");
  await freeName(held.rows[0]?.username);
  t.equal((await rename(dora, "dora.5")).status, 200);
});

t.test("one of many who want one name at once gets it, whichever way they come", async (t) => {
  for (let round = 0; round < 4; round++) {
    const name = `wanted${round}`;
    const people = await Promise.all([1, 2, 3].map((index) => client.register(`emil${round}.${index}`)));
    const answers = await Promise.all([
      ...people.map((person, index) => rename(index % 2 ? person : second.client.as(person.token), name)),
      register(name),
      register(name, second.client, { email: `other${round}@example.org` }),
    ]);
    const statuses = answers.map(({ status }) => status);
    t.equal(statuses.filter((status) => status === 200 || status === 201).length, 1, `${statuses}`);
    t.equal(statuses.filter((status) => status === 409).length, 4, `${statuses}`);
    const { rows } = await sql.query("SELECT count(*)::int AS n FROM reserved_usernames WHERE holder_id = ANY ($1)", [
      people.map(({ id }) => id),
    ]);
    t.equal(rows[0]?.n, statuses.indexOf(200) < 0 ? 0 : 1, "only who changed a name gave one up");
  }
});

t.test("a name that is being given up is never free in between", async (t) => {
  for (let round = 0; round < 8; round++) {
    const owner = await client.register(`frida${round}`);
    const thief = await client.register(`thief${round}`);
    const [given, ...taken] = await Promise.all([
      rename(owner, `frida${round}.new`),
      register(`frida${round}`, second.client),
      rename(second.client.as(thief.token), `frida${round}`),
    ]);
    t.equal(given.status, 200);
    for (const { status } of taken) t.equal(status, 409);
  }
  const [gerda, hanna] = await Promise.all([client.register("gerda"), client.register("hanna")]);
  const swap = await Promise.all([rename(gerda, "hanna"), rename(second.client.as(hanna.token), "gerda")]);
  for (const { status } of swap) t.equal(status, 409, "two cannot swap");
});

t.test("registration by invitation", async (t) => {
  const mail = await startMailServer(t);
  const settings = { ...env, ...mail.env, TINTYPE_REGISTRATION: "invite", TINTYPE_WORKER_EMBEDDED: "false" };
  const [one, two] = await Promise.all([startServer(settings), startServer(settings)]);
  t.teardown(() => Promise.all([one.stop(), two.stop()]));
  const invite = async (...flags: string[]) => {
    const { code, stdout } = await run(["users", "invite", "--json", ...flags], settings);
    return { exit: code, ...JSON.parse(stdout) };
  };
  const codeOf = (answer: { body: { error: { code: string } } }) => answer.body.error.code;

  for (const invite_code of [undefined, ""]) {
    const refused = await register("ines", one.client, { invite_code });
    t.strictSame([refused.status, codeOf(refused)], [403, "INVITE_REQUIRED"]);
  }
  t.equal(codeOf(await register("ines", one.client, { invite_code: "invite_nonsense" })), "INVITE_INVALID");

  const made = await invite();
  t.match(made, {
    exit: 0,
    email: null,
    mailed: false,
    code: /^invite_[\w-]{43}$/,
    url: /\/account\/register\?invite=/,
  });
  const days = (Date.parse(made.expires_at) - Date.now()) / 86_400_000;
  t.ok(days > 6.9 && days <= 7, `${days} days`);
  const taken = await register("ana", one.client, { invite_code: made.code, email: "ines@example.org" });
  t.equal(codeOf(taken), "USERNAME_TAKEN", "a registration that fails uses up no code");
  const race = await Promise.all(
    Array.from({ length: 6 }, (_, index) =>
      register(`ines${index}`, index % 2 ? one.client : two.client, { invite_code: made.code }),
    ),
  );
  t.strictSame(race.map(({ status }) => status).sort(), [201, 403, 403, 403, 403, 403], "one code, one account");
  const { rows } = await sql.query("SELECT username FROM users WHERE username LIKE 'ines%'");
  t.equal(rows.length, 1);
  for (const loser of race.filter(({ status }) => status === 403)) t.equal(codeOf(loser), "INVITE_INVALID");

  const aged = await invite("--expires", "1h");
  await sql.query("UPDATE invites SET expires_at = now() WHERE used_at IS NULL");
  t.equal(codeOf(await register("jana", one.client, { invite_code: aged.code })), "INVITE_INVALID");

  const mailed = await invite("--email", "jana@example.org");
  t.match(mailed, { exit: 0, email: "jana@example.org", mailed: true });
  const link = linkIn(await mail.mailTo("jana@example.org"));
  t.equal(link.href, mailed.url);
  t.equal((await register("jana", two.client, { invite_code: link.searchParams.get("invite") })).status, 201);

  mail.refuse("no such mailbox as kurt@example.org");
  const unsent = await invite("--email", "kurt@example.org");
  t.match(unsent, { exit: 4, mailed: false });
  t.equal(
    (await register("kurt", one.client, { invite_code: unsent.code })).status,
    201,
    "the code is good all the same",
  );

  const byOperator = await run(
    ["users", "create", "lena", "--email", "lena@example.org", "--password-stdin"],
    settings,
    {
      stdin: "a long password",
    },
  );
  t.equal(byOperator.code, 0, "an operator needs no code");
  for (const flags of [
    ["--expires", "soon"],
    ["--expires", "0d"],
    ["--email", "nonsense"],
  ]) {
    t.equal((await invite(...flags)).exit, 2, flags.join(" "));
  }
  const stored = JSON.stringify((await sql.query("SELECT * FROM invites")).rows);
  for (const { code } of [made, aged, mailed]) t.notOk(stored.includes(code.slice(7)));
});

t.test("the sweep frees what is over", async (t) => {
  const mona = await client.register("mona");
  await rename(mona, "mona.new");
  await rename(mona, "mona.newer");
  await freeName("mona");
  await sql.query(
    "INSERT INTO invites (id, code_hash, expires_at) VALUES (gen_random_uuid(), 'old', now() - interval '1 hour')",
  );
  await sql.query(
    "INSERT INTO account_tokens (user_id, purpose, token_hash, expires_at) VALUES ($1, 'password_reset', 'old', now())",
    [mona.id],
  );
  await sql.query("INSERT INTO pgboss.job (name, data) VALUES ('accounts.sweep', '{}')");
  await waitFor(async () => {
    const { rows } = await sql.query(
      `SELECT (SELECT count(*) FROM reserved_usernames WHERE username = 'mona')
         + (SELECT count(*) FROM invites WHERE code_hash = 'old')
         + (SELECT count(*) FROM account_tokens WHERE token_hash = 'old') AS n`,
    );
    return rows[0]?.n === "0";
  }, "the sweep");
  const kept = await sql.query("SELECT FROM reserved_usernames WHERE username = 'mona.new'");
  t.equal(kept.rowCount, 1, "what is not over stays");
});
