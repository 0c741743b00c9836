import t from "tap";
import { run } from "../support/server.ts";
import { startService } from "../support/service.ts";
import { linkIn, startMailServer } from "../support/smtp.ts";

const mail = await startMailServer(t);
const service = await startService(t, { ...mail.env, TINTYPE_REGISTRATION: "invite" });
const { client, server, env } = service;

/** Opens a page as a browser does, and holds it to what every page must be. */
async function open(url: string | URL, form?: Record<string, string>) {
  const response = await fetch(url, {
    headers: { accept: "text/html" },
    ...(form ? { method: "POST", body: new URLSearchParams(form) } : {}),
  });
  const html = await response.text();
  const { headers } = response;
  t.match(headers.get("content-type"), /^text\/html; charset=utf-8$/);
  t.equal(headers.get("referrer-policy"), "no-referrer");
  t.equal(headers.get("cache-control"), "no-store");
  t.equal(headers.get("x-content-type-options"), "nosniff");
  const policy = headers.get("content-security-policy") ?? "";
  for (const rule of ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"]) t.match(policy, rule);
  t.notMatch(policy, /script|unsafe|\*/);
  t.match(html, /^<!doctype html>\n<html lang="en">/);
  t.match(html, '<meta name="viewport"');
  t.notMatch(html, /<script|javascript:|https?:\/\/(?!127\.0\.0\.1)/, "nothing that runs, nothing from elsewhere");
  for (const [, id] of html.matchAll(/<label for="([^"]+)"/g)) t.match(html, `<input id="${id}"`);
  return { status: response.status, html, alert: /role="alert">([^<]*)</.exec(html)?.[1] ?? null };
}

/** The form's address and what is in it, as a browser would send it. */
function formOf(html: string, page: string | URL): { action: string; fields: Record<string, string> } {
  const action = /<form method="post" action="([^"]+)">/.exec(html)?.[1];
  if (action === undefined) throw new Error(`there is no form in ${html}`);
  const fields = [...html.matchAll(/<input ([^>]+)>/g)].map(([, attributes = ""]) => {
    const of = (name: string) => new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1] ?? "";
    return [of("name"), of("value")];
  });
  return { action: new URL(action, page).href, fields: Object.fromEntries(fields) };
}

async function register(username: string) {
  const { stdout } = await run(["users", "invite", "--json"], env);
  const json = {
    username,
    email: `${username}@example.org`,
    password: `the password of ${username}`,
    invite_code: JSON.parse(stdout).code,
  };
  const { body } = await client.request("POST", "/auth/register", { json });
  return client.as(body.token);
}

const logIn = async (login: string, password: string) =>
  (await client.request("POST", "/auth/login", { json: { login, password } })).status;

t.test("an email is confirmed by pressing a button, not by opening the link", async (t) => {
  const ana = await register("ana");
  const link = linkIn(await mail.mailTo("ana@example.org"));
  const confirmed = async () => (await ana.request("GET", "/me")).body.email_confirmed;
  for (const _time of [1, 2]) t.equal((await open(link)).status, 200, "mail scanners open it too");
  t.equal(await confirmed(), false);
  const { action, fields } = formOf((await open(link)).html, link);
  t.equal((await open(action, fields)).status, 200);
  t.equal(await confirmed(), true);
  const again = await open(action, fields);
  t.equal(again.status, 422);
  t.match(again.alert, /mistyped, used or too old/);
  t.equal((await open(link)).status, 422, "a used link says so at once");
});

t.test("a new password is set in a browser", async (t) => {
  const bob = await register("bob");
  await mail.mailTo("bob@example.org");
  await client.request("POST", "/auth/password/reset", { json: { login: "bob" } });
  const link = linkIn(await mail.mailTo("bob@example.org", 1));
  const page = await open(link);
  t.match(page.html, /type="password" autocomplete="new-password" minlength="8"/);
  const { action, fields } = formOf(page.html, link);
  t.notOk(action.includes(fields.token ?? "none"), "the token is in no address but the mail's");

  const short = await open(action, { ...fields, new_password: "short" });
  t.equal(short.status, 422);
  t.match(short.alert, /at least 8 characters/);
  t.strictSame(formOf(short.html, action), { action, fields }, "the form is there again, without the password");
  t.equal((await bob.request("GET", "/me")).status, 200);
  const done = await open(action, { ...fields, new_password: "ein neues Paßwort" });
  t.equal(done.status, 200);
  t.equal((await bob.request("GET", "/me")).status, 401, "all sessions end");
  t.equal(await logIn("bob", "ein neues Paßwort"), 200);
  t.equal((await open(action, { ...fields, new_password: "another password" })).status, 422);
  t.equal(await logIn("bob", "another password"), 401);
});

t.test("an invite opens an account in a browser", async (t) => {
  const { stdout } = await run(["users", "invite", "--json"], { ...env, TINTYPE_PUBLIC_URL: server.url });
  const { url, code } = JSON.parse(stdout);
  const page = await open(url);
  t.equal(page.status, 200);
  const { action, fields } = formOf(page.html, url);
  t.strictSame(fields, { username: "", email: "", password: "", invite_code: code });
  const carla = { ...fields, username: "Carla", email: "carla@example.org", password: "a long password" };
  for (const [wrong, status, says] of [
    [{ username: "ana" }, 409, /taken/],
    [{ username: '"><b>' }, 422, /username/],
    [{ password: "short" }, 422, /password/],
    [{ invite_code: "" }, 403, /invitation only/],
    [{ invite_code: "invite_x" }, 403, /mistyped/],
  ] as const) {
    const refused = await open(action, { ...carla, ...wrong });
    t.equal(refused.status, status, JSON.stringify(wrong));
    t.match(refused.alert, says);
    t.equal(formOf(refused.html, action).fields.email, "carla@example.org", "what was typed is still there");
    t.notMatch(refused.html, "a long password", "but for the password");
  }
  t.equal((await open(action, carla)).status, 201);
  t.equal(await logIn("carla", "a long password"), 200);
});

t.test("whatever comes in is escaped or refused, in HTML", async (t) => {
  const nasty = `"'><script>alert(1)</script>&amp;`;
  for (const path of ["reset-password", "confirm-email", "register"]) {
    const url = `${server.url}/account/${path}`;
    for (const query of ["", `?token=${encodeURIComponent(nasty)}`, `?invite=${encodeURIComponent(nasty)}`]) {
      const { status } = await open(`${url}${query}`);
      t.ok(status === 200 || status === 422, `${path}${query}: ${status}`);
    }
    for (const query of ["?token=a%00b", "?invite=a%00b", "?token=a&token=b"]) {
      const { status } = await open(`${url}${query}`);
      t.ok([200, 400, 422].includes(status), `${path}${query}: ${status}`);
    }
    for (const form of [
      {},
      { token: nasty, new_password: "a long password", username: nasty, email: nasty, invite_code: nasty },
      { token: "a\0b", new_password: "a\0b", username: "a\0b" },
      { unknown: "field" },
    ]) {
      const { status, alert } = await open(url, form as Record<string, string>);
      t.ok([403, 422].includes(status), `${path} ${JSON.stringify(form)}: ${status}`);
      t.ok(alert, "says why");
    }
    const large = await open(url, { token: "x".repeat(20_000) });
    t.equal(large.status, 413);
  }
  const { html } = await open(`${server.url}/account/register?invite=${encodeURIComponent(nasty)}`);
  t.match(html, 'value="&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;"');
  const document = await (await fetch(`${server.url}/openapi.json`)).text();
  t.notMatch(document, '"/account/', "pages are no part of the API");
});

t.test("no page's token gets into the log", async (t) => {
  const tokens = mail.mails.map((received) => linkIn(received).searchParams.get("token") ?? "none");
  t.ok(tokens.length > 2);
  for (const token of tokens) t.notOk(server.output().includes(token));
});
