import pg from "pg";
import t from "tap";
import type { Client } from "../support/client.ts";
import { run, startServer, waitFor } from "../support/server.ts";
import { startService } from "../support/service.ts";
import { linkIn, startMailServer, startSilentMailServer } from "../support/smtp.ts";

const mail = await startMailServer(t);
const service = await startService(t, { ...mail.env, TINTYPE_LOG_LEVEL: "debug" });
const { client, server, env } = service;
const sql = new pg.Pool({ connectionString: service.databaseUrl, max: 2 });
t.teardown(() => sql.end());

const NEW_PASSWORD = "a new password, and long";

function logIn(login: string, password: string) {
  return client.request("POST", "/auth/login", { json: { login, password } });
}

function askForReset(login: string) {
  return client.request("POST", "/auth/password/reset", { json: { login } });
}

function confirmReset(token: string | null, new_password = NEW_PASSWORD, by: Client = client) {
  return by.request("POST", "/auth/password/reset/confirm", { json: { token, new_password } });
}

const tokenOf = (link: URL) => link.searchParams.get("token") ?? "";

/** Another mail can only be had after a minute: it is over. */
const letAMinutePass = () => sql.query("UPDATE account_tokens SET created_at = created_at - interval '1 minute'");

/** Waits until no mail is left to send. */
const allSent = () =>
  waitFor(async () => {
    const left = await sql.query("SELECT FROM pgboss.job WHERE name = 'accounts.mail' AND state < 'completed'");
    return left.rowCount === 0;
  }, "all mails to be sent");

/** How many connections to this database wait for another. */
async function waitingForLocks(): Promise<number> {
  const { rowCount } = await sql.query(
    "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
  );
  return rowCount ?? 0;
}

t.test("an email is confirmed by the link that was mailed to it", async (t) => {
  const ana = await client.register("ana");
  t.equal((await ana.request("GET", "/me")).body.email_confirmed, false);
  const received = await mail.mailTo("ana@example.org");
  t.equal(received.from, "photos@example.com");
  t.strictSame(received.to, ["ana@example.org"]);
  const { headers, text } = received;
  t.match(headers.from, /^=\?UTF-8\?[BQ]\?.+\?= <photos@example\.com>$/i, "a name is encoded");
  t.equal(headers.to, "ana@example.org");
  t.match(headers.subject, /Confirm your email/);
  t.ok(Date.parse(headers.date ?? "") > Date.now() - 60_000, "a date");
  t.match(headers["message-id"], /^<.+@.+>$/);
  t.equal(headers["auto-submitted"], "auto-generated");
  t.match(headers["content-type"], /^text\/plain/, "plain text alone");
  t.notOk("x-mailer" in headers);
  t.notMatch(text, /ana|<|password/, "nothing of whoever registered is in it");

  const link = linkIn(received);
  t.equal(link.origin + link.pathname, `${server.url}/account/confirm-email`);
  const token = tokenOf(link);
  const race = await Promise.all(
    [1, 2, 3, 4].map(() => client.request("POST", "/auth/email/confirm", { json: { token } })),
  );
  t.strictSame(race.map(({ status }) => status).sort(), [204, 422, 422, 422], "once");
  t.equal((await ana.request("GET", "/me")).body.email_confirmed, true);
  t.equal(race.find(({ status }) => status === 422)?.body.error.code, "LINK_INVALID");

  await letAMinutePass();
  const again = await ana.request("POST", "/me/email/confirmation");
  t.equal(again.status, 202);
  await allSent();
  t.equal(mail.mails.filter(({ to }) => to.includes("ana@example.org")).length, 1, "there is nothing left to confirm");
});

t.test("a confirmation is mailed again, once a minute, and all its links end with one", async (t) => {
  const bob = await client.register("bob");
  const first = tokenOf(linkIn(await mail.mailTo("bob@example.org")));
  const answers = await Promise.all([1, 2, 3].map(() => bob.request("POST", "/me/email/confirmation")));
  for (const { status, body } of answers) t.strictSame([status, body], [202, { status: "accepted" }]);
  await allSent();
  t.equal(mail.mails.filter(({ to }) => to.includes("bob@example.org")).length, 1, "within the minute there is none");
  await letAMinutePass();
  await Promise.all([1, 2, 3].map(() => bob.request("POST", "/me/email/confirmation")));
  const second = tokenOf(linkIn(await mail.mailTo("bob@example.org", 1)));
  await allSent();
  t.equal(mail.mails.filter(({ to }) => to.includes("bob@example.org")).length, 2, "one of three");
  const confirm = (token: string) => client.request("POST", "/auth/email/confirm", { json: { token } });
  t.equal((await confirmReset(second)).status, 422, "a link is good for one purpose");
  t.equal((await confirm(first)).status, 204, "whoever asks for another one spoils none");
  t.equal((await confirm(second)).status, 422, "one that was used ends the others");
});

t.test("a forgotten password is set anew by the link in the mail", async (t) => {
  const carla = await client.register("carla");
  const other = client.as((await logIn("carla", carla.password)).body.token);
  await allSent();
  for (const login of ["carla", "nobody.here", "nobody@example.org", " CARLA@Example.org "]) {
    const answer = await askForReset(login);
    t.strictSame([answer.status, answer.body], [202, { status: "accepted" }], login);
  }
  const received = await mail.mailTo("carla@example.org", 1);
  t.match(received.headers.subject, /new password/);
  await allSent();
  const mailed = mail.mails.filter(({ to }) => to.includes("carla@example.org"));
  t.equal(mailed.length, 2, "one mail for the confirmation, one for two requests");
  t.notOk(mail.mails.some(({ to }) => to.includes("nobody@example.org")));

  const link = linkIn(received);
  t.equal(link.origin + link.pathname, `${server.url}/account/reset-password`);
  const token = tokenOf(link);
  t.equal((await confirmReset(token, "short")).body.error.code, "INVALID_VALUE", "a wrong password uses nothing up");
  t.equal((await confirmReset(`${token}x`)).body.error.code, "LINK_INVALID");
  const second = await startServer(env);
  t.teardown(() => second.stop());
  // All of them have seen a good link before the first may use it up.
  const holder = await sql.connect();
  await holder.query("BEGIN");
  await holder.query("SELECT FROM users WHERE username = 'carla' FOR UPDATE");
  const requests = Array.from({ length: 8 }, (_, index) =>
    confirmReset(token, `${NEW_PASSWORD} ${index}`, index % 2 ? client : second.client),
  );
  await waitFor(async () => (await waitingForLocks()) === 8, "all of them to wait");
  await holder.query("ROLLBACK");
  holder.release();
  const race = await Promise.all(requests);
  t.strictSame(race.map(({ status }) => status).sort(), [204, ...Array(7).fill(422)], "one of eight, on two servers");
  const winner = race.findIndex(({ status }) => status === 204);
  for (const session of [carla, other]) t.equal((await session.request("GET", "/me")).status, 401, "all sessions end");
  t.equal((await logIn("carla", carla.password)).status, 401);
  t.equal((await logIn("carla", `${NEW_PASSWORD} ${winner}`)).status, 200);

  const wrong = [token, `${token}x`, "", "nonsense", "link_x"];
  const bodies = new Set<string>();
  for (const used of wrong) {
    const { status, body } = await confirmReset(used);
    t.equal(status, 422, used);
    const { request_id: _id, ...error } = body.error;
    bodies.add(JSON.stringify(error));
  }
  t.equal(bodies.size, 1, "one message for all");
});

t.test("a link dies of age, of a change of password, and with the account", async (t) => {
  const dora = await client.register("dora");
  const issue = async (name: string) => {
    const { stdout } = await run(["users", "reset-password", name, "--json"], env);
    return JSON.parse(stdout);
  };
  const { username, url, expires_at } = await issue("Dora");
  t.equal(username, "dora");
  const hours = (Date.parse(expires_at) - Date.now()) / 3_600_000;
  t.ok(hours > 23.9 && hours <= 24, `good for ${hours} hours`);
  t.match(url, /\/account\/reset-password\?token=/);
  const aged = tokenOf(new URL(url));
  await sql.query("UPDATE account_tokens SET expires_at = now() WHERE purpose = 'password_reset'");
  t.equal((await confirmReset(aged)).body.error.code, "LINK_INVALID");

  const first = tokenOf(new URL((await issue("dora")).url));
  const second = await run(["users", "reset-password", "dora", "--sign-out", "--json"], env);
  t.equal((await confirmReset(first)).status, 422, "an operator withdraws a link by making another");
  t.equal((await dora.request("GET", "/me")).status, 401, "and ends the sessions, if asked to");
  t.match(JSON.parse(second.stdout), { username: "dora" });
  const signedIn = await logIn("dora", dora.password);
  const again = dora.as(signedIn.body.token);

  const open = tokenOf(new URL((await issue("dora")).url));
  const json = { current_password: dora.password, new_password: "another long password" };
  t.equal((await again.request("POST", "/me/password", { json })).status, 204);
  t.equal((await confirmReset(open)).status, 422);

  const last = tokenOf(new URL((await issue("dora")).url));
  const gone = await again.request("DELETE", "/me", { json: { password: "another long password" } });
  t.equal(gone.status, 202);
  t.equal((await confirmReset(last)).status, 422);
  const { rows } = await sql.query("SELECT count(*)::int AS n FROM account_tokens WHERE purpose = 'password_reset'");
  t.equal(rows[0]?.n, 0);
});

t.test("a mail that the server refuses is tried again, and its link is a new one", async (t) => {
  const emil = await client.register("emil");
  await mail.mailTo("emil@example.org");
  mail.refuse("mailbox of emil@example.org unavailable");
  t.teardown(() => mail.refuse(null));
  const before = mail.connections();
  t.equal((await askForReset("emil")).status, 202);
  await waitFor(async () => mail.connections() > before, "a try");
  await waitFor(async () => /"msg":"job failed"/.test(server.output()), "it to fail");
  mail.refuse(null);
  const received = await mail.mailTo("emil@example.org", 1);
  t.equal((await confirmReset(tokenOf(linkIn(received)))).status, 204);
  t.equal((await emil.request("GET", "/me")).status, 401);
  const failed = server.output().match(/.*"msg":"job failed".*/g) ?? [];
  t.match(failed.join("\n"), /mail server did not take it.*\[address\]/, "the log says why");
});

t.test("however many ask while the mail server refuses, one mail goes out when it is back", async (t) => {
  await client.register("greta");
  await mail.mailTo("greta@example.org");
  mail.refuse("busy");
  t.teardown(() => mail.refuse(null));
  const answers = await Promise.all(Array.from({ length: 20 }, () => askForReset("greta")));
  t.ok(answers.every(({ status }) => status === 202));
  await waitFor(async () => {
    const { rows } = await sql.query(
      "SELECT state FROM pgboss.job WHERE name = 'accounts.mail' AND state < 'completed'",
    );
    return rows.length > 0 && rows.every(({ state }) => state === "retry");
  }, "each to be tried");
  mail.refuse(null);
  await allSent();
  const received = mail.mails.filter(({ to }) => to.includes("greta@example.org"));
  t.equal(received.length, 2, "the confirmation and one more");
  t.equal((await confirmReset(tokenOf(linkIn(received[1] as (typeof received)[0])))).status, 204);
});

t.test("neither jobs nor logs hold what a link is made of, or whom it goes to", async (t) => {
  const { rows } = await sql.query(
    "SELECT data::text AS data, output::text AS output FROM pgboss.job WHERE name LIKE 'accounts.%'",
  );
  t.ok(rows.length > 0);
  const tokens = mail.mails.map((received) => tokenOf(linkIn(received)));
  t.ok(tokens.every((token) => token.length > 40));
  const kept = JSON.stringify(rows) + server.output();
  for (const token of tokens) t.notOk(kept.includes(token));
  t.notMatch(kept, /@example\.org|mail server's password|mail%20server/);
  const stored = await sql.query("SELECT * FROM account_tokens");
  for (const token of tokens) t.notOk(JSON.stringify(stored.rows).includes(token.slice(5)));
});

t.test("without a mail server there is none, and it is said", async (t) => {
  const silent = await startServer({
    ...env,
    TINTYPE_SMTP_URL: "",
    TINTYPE_SMTP_FROM: "",
    TINTYPE_WORKER_EMBEDDED: "false",
  });
  t.teardown(() => silent.stop());
  const frida = await silent.client.register("frida");
  for (const answer of [
    await silent.client.request("POST", "/auth/password/reset", { json: { login: "frida" } }),
    await silent.client.request("POST", "/auth/password/reset", { json: { login: "nobody.here" } }),
    await frida.request("POST", "/me/email/confirmation"),
  ]) {
    t.equal(answer.status, 422);
    t.equal(answer.body.error.code, "MAIL_NOT_CONFIGURED");
  }
  await allSent();
  t.notOk(mail.mails.some(({ to }) => to.includes("frida@example.org")));
  const half = await run(["config", "check"], { ...env, TINTYPE_SMTP_FROM: "" });
  t.equal(half.code, 3);
  t.match(half.stderr, /smtp\.from is missing/);
  const shown = await run(["config", "show"], env);
  t.match(shown.stdout, "127.0.0.1");
  t.notMatch(shown.stdout, /mail server's password|mail%20server/);
});

t.test("doctor asks the mail server", async (t) => {
  const examine = async (settings: Record<string, string>) => {
    const { code, stdout } = await run(["doctor", "--json"], { ...env, ...settings });
    const { checks } = JSON.parse(stdout);
    return { code, mail: checks.find(({ name }: { name: string }) => name === "mail") };
  };
  const right = await examine({});
  t.equal(right.code, 0);
  t.match(right.mail, { state: "ok", message: /127\.0\.0\.1:\d+/ });
  const wrong = await examine({ TINTYPE_SMTP_URL: mail.url.replace(/:[^:@]+@/, ":wrong-password@") });
  t.equal(wrong.code, 4);
  t.match(wrong.mail, { state: "failed", mend: /TINTYPE_SMTP_URL/ });
  t.notMatch(JSON.stringify(wrong.mail), "wrong-password");

  const hanging = await startSilentMailServer(t);
  const dead = await examine(hanging.env);
  t.equal(dead.code, 4);
  t.match(dead.mail, { state: "failed", message: /[Gg]reeting/ });
});

t.test("a mail that hangs holds up nobody, and comes after its worker was killed", async (t) => {
  await server.stop();
  const hanging = await startSilentMailServer(t);
  const killed = await startServer({ ...env, ...hanging.env });
  const gerda = await killed.client.register("gerda");
  t.equal((await gerda.request("GET", "/me")).status, 200, "who registers does not wait for the mail");
  await waitFor(async () => hanging.connections() > 0, "the mail to be on its way");
  await killed.kill();
  const next = await startServer(env);
  t.teardown(() => next.stop());
  const link = linkIn(await mail.mailTo("gerda@example.org"));
  const confirmed = await next.client.request("POST", "/auth/email/confirm", { json: { token: tokenOf(link) } });
  t.equal(confirmed.status, 204);
});
