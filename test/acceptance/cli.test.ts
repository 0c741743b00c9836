import { execFile } from "node:child_process";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import type { Json } from "../support/client.ts";
import { emptyDatabase, testDatabase } from "../support/database.ts";
import { exactly } from "../support/exactly.ts";
import { picture, truncated } from "../support/pictures.ts";
import { EXECUTABLE, run, startServer, temporaryFolder, waitFor } from "../support/server.ts";

const COMMANDS = [
  ...["serve", "worker", "migrate", "doctor", "config show", "config check", "users create", "users list"],
  ...["users show", "users suspend", "users unsuspend", "users delete", "users invite", "users reset-password"],
  ...["jobs status", "jobs list", "jobs retry", "jobs purge", "backup", "restore"],
  ...["fanout status", "fanout verify", "fanout rebuild"],
];
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const database = await testDatabase(t);
const folder = await temporaryFolder(t);
const env = { TINTYPE_DATABASE_URL: database.url, TINTYPE_DATA_DIR: join(folder, "data") };
/** Nothing listens there. */
const nowhere = "postgres://tintype:database-password@127.0.0.1:1/tintype";

type Options = Parameters<typeof run>[2];

/** Runs a command, given as one line, for people to read. */
async function tintype(line: string, expected: number, extra: Record<string, string> = {}, options: Options = {}) {
  const { code, stdout, stderr } = await run(line.split(" "), { ...env, ...extra }, options);
  if (code !== expected) throw new Error(`tintype ${line} ended with ${code}, not ${expected}:\n${stdout}${stderr}`);
  return { stdout, stderr, both: `${stdout}${stderr}` };
}

/** Runs a command with --json: stdout is one JSON document, whatever the exit. */
async function asJson(line: string, expected: number, extra: Record<string, string> = {}, options: Options = {}) {
  const { stdout, stderr } = await tintype(`${line} --json`, expected, extra, options);
  for (const logged of stderr.split("\n").filter((text) => text.startsWith("{"))) JSON.parse(logged);
  return JSON.parse(stdout) as Json;
}

/** Both at once, which halves the time. */
function inBothForms(line: string, expected: number, extra: Record<string, string> = {}) {
  return Promise.all([tintype(line, expected, extra), asJson(line, expected, extra)]);
}

// Two jobs that will be dead letters: begun here, because the three tries of each take some ten seconds.
const server = await startServer({ ...env, TINTYPE_WORKER_EMBEDDED: "true" });
t.teardown(() => server.kill());
const ana = await server.client.register("ana");
const broken = await Promise.all([200, 220].map((width) => picture({ width, height: 200 })));
const posts = await Promise.all(broken.map((file) => ana.post([truncated(file)])));

t.test("a reader that closes early is no error", async (t) => {
  const help = `env -u NODE_OPTIONS '${process.execPath}' '${EXECUTABLE}' --help`;
  const { stdout } = await promisify(execFile)("bash", [
    "-c",
    `${help} | head -1 > /dev/null; echo "\${PIPESTATUS[0]}"`,
  ]);
  t.equal(stdout.trim(), "0");
});

t.test("help, version and wrong usage", async (t) => {
  const help = await tintype("--help", 0);
  for (const word of ["serve", "worker", "migrate", "doctor", "config", "users", "jobs"]) t.match(help.stdout, word);
  t.match((await tintype("--version", 0)).stdout, /^tintype\/\d+\.\d+\.\d+ /);
  for (const command of COMMANDS) {
    const { stdout, stderr } = await tintype(`${command} --help`, 0);
    t.match(stdout, new RegExp(`USAGE\\s+\\$ tintype ${command}`), command);
    t.match(stdout, "--json", `${command} and --json`);
    t.equal(stderr, "");
  }
  for (const line of ["nonsense --json", "serve --json --port x", "users create --json"]) {
    t.match(JSON.parse((await run(line.split(" "), env)).stdout), { error: { code: String, message: String } }, line);
  }
  for (const line of [
    "nonsense",
    "users create",
    "users show",
    "users list --limit 0",
    "jobs retry",
    "config show x",
  ]) {
    const { stdout, stderr } = await tintype(line, 2);
    t.equal(stdout, "", line);
    t.match(stderr, /Error/, line);
  }
  for (const line of ["jobs retry 12", "jobs purge --older-than soon", "users show --nonsense"]) {
    t.match(await asJson(line, 2), { error: { code: "UsageError", message: /\S/ } }, line);
  }
});

t.test("users create, list and show", async (t) => {
  const create = (name: string, password: string, expected: number, json = true) =>
    (json ? asJson : tintype)(
      `users create ${name} --email ${name}@example.org --password-stdin`,
      expected,
      {},
      {
        stdin: password,
      },
    );
  const made = await create("berta", "a long password\n", 0);
  t.match(made, {
    id: UUID,
    username: "berta",
    state: "active",
    email: "berta@example.org",
    display_name: null,
    follower_count: 0,
  });
  t.notMatch(JSON.stringify(made), /password/);
  t.match((await create("Carl", "a long password", 0, false)).stdout, /^Made carl \([0-9a-f-]{36}\)\.$/m);

  const json = { login: "berta", password: "a long password" };
  t.equal(
    (await server.client.request("POST", "/auth/login", { json })).status,
    200,
    "the line's end is not the password's",
  );

  t.match(await create("BERTA", "a long password", 1), { error: { code: "USERNAME_TAKEN", message: /berta/ } });
  t.match(await create("x", "short", 2), { error: { code: "INVALID_VALUE", message: /username.*password/s } });
  t.match(await create("dora", "", 2), { error: { code: "INVALID_VALUE", message: /password/ } });

  const [shown, user] = await inBothForms("users show Berta", 0);
  const { sessions, follow_requests, blocks, last_used_at, state_since, ...account } = user;
  t.strictSame(account, made);
  t.match(
    { sessions, follow_requests, blocks, state_since, last_used_at: Date.parse(last_used_at) > 0 },
    {
      sessions: 1,
      follow_requests: 0,
      blocks: 0,
      state_since: null,
      last_used_at: true,
    },
  );
  t.match(shown.stdout, /^username +berta$/m);
  t.match((await tintype("users show nobody", 1)).stderr, /nobody/);

  const [listed, { users, next_cursor }] = await inBothForms("users list", 0);
  t.strictSame(
    users.map((row: { username: string }) => row.username),
    ["carl", "berta", "ana"],
    "latest first",
  );
  t.equal(next_cursor, null);
  t.match(listed.stdout, /^USERNAME.*\ncarl .*\nberta /);
  const page = await asJson("users list --limit 2", 0);
  t.equal(page.users.length, 2);
  const rest = await asJson(`users list --limit 2 --after ${page.next_cursor}`, 0);
  t.strictSame(
    rest.users.map((row: { username: string }) => row.username),
    ["ana"],
  );
});

t.test("config show and check", async (t) => {
  const file = join(folder, "own.toml");
  await writeFile(file, '[media]\nmax_photo = "7mb"\n[http]\ncors_origins = ["https://a.example"]\n');
  const secret = { TINTYPE_DATABASE_URL: nowhere, TINTYPE_PORT: "4711" };
  const [shown, { settings, file: used }] = await inBothForms(`config show --config ${file}`, 0, secret);
  const setting = (name: string) => settings.find((row: { name: string }) => row.name === name);
  t.equal(used, file);
  t.match(setting("port"), { value: "4711", source: "env", env: "TINTYPE_PORT" });
  t.match(setting("media.max_photo"), { value: "7mb", source: "file", env: "TINTYPE_MEDIA_MAX_PHOTO" });
  t.match(setting("media.max_pixels"), { source: "default" });
  t.match(JSON.stringify(setting("database.url")), "127.0.0.1:1/tintype", "what is not secret is shown");
  for (const printed of [shown.both, JSON.stringify(settings)]) t.notMatch(printed, "database-password");

  const [right, answer] = await inBothForms(`config check --config ${file}`, 0);
  t.match(right.stdout, file);
  t.strictSame(answer, { ok: true, file, warnings: [] });

  await writeFile(file, 'prot = 1\n[media]\nmax_photo = "huge"\n[nonsense]\nkey = 1\n');
  const mistakes = {
    TINTYPE_PORT: "99999",
    TINTYPE_DATABASE_URL: "mysql://u:database-password@h/d",
    TINTYPE_NONSENSE: "1",
    TINTYPE_FEATURES: "accounts,feeed",
    TINTYPE_HTTP_HEADER_TIMEOUT: "soon",
  };
  const names = [
    /prot\b/,
    /max_photo/,
    /nonsense/,
    /TINTYPE_PORT/,
    /DATABASE_URL/,
    /TINTYPE_NONSENSE/,
    /feeed/,
    /HEADER_TIMEOUT/,
  ];
  const [said, { error }] = await inBothForms(`config check --config ${file}`, 3, mistakes);
  t.equal(error.code, "ConfigError");
  for (const name of names) {
    t.match(error.message, name);
    t.match(said.stderr, name);
  }
  t.match(said.stderr, "feed", "and what was perhaps meant");
  t.notMatch(said.both, "database-password");
  for (const line of ["serve", "users list"]) {
    const { stderr } = await tintype(`${line} --config ${file}`, 3, mistakes);
    for (const name of names) t.match(stderr, name, `${line} names every mistake`);
  }
  t.match((await tintype("config check --config /nowhere.toml", 3)).stderr, "/nowhere.toml");
  t.match((await tintype("serve", 3, { TINTYPE_PORT: "tcp://10.0.0.7:3000" })).stderr, "enableServiceLinks: false");
});

t.test("a database that does not answer is exit 4, with what to do", async (t) => {
  const down = { TINTYPE_DATABASE_URL: nowhere };
  await Promise.all(
    ["users list", "migrate --status"].map(async (line) => {
      const { error } = await asJson(line, 4, down);
      t.match(error, { code: "DependencyError", message: /ECONNREFUSED/, hint: /TINTYPE_DATABASE_URL/ }, line);
    }),
  );
  for (const line of ["serve", "worker"]) {
    const { both } = await tintype(line, 4, down);
    t.match(both, /ECONNREFUSED/, line);
    t.match(both, "TINTYPE_DATABASE_URL");
    t.notMatch(both, "database-password");
  }
});

t.test("migrate and migrate --status", async (t) => {
  const empty = { TINTYPE_DATABASE_URL: (await emptyDatabase(t)).url };
  const [before, { migrations }] = await inBothForms("migrate --status", 1, empty);
  t.match(before.stdout, /accounts +-$/m);
  t.ok(migrations.length >= 4);
  t.ok(migrations.every((row: { applied_at: null }) => row.applied_at === null));
  t.match(
    (await asJson("doctor", 1, empty)).checks,
    exactly(
      {},
      {},
      {},
      {},
      {},
      { name: "postgres", state: "ok" },
      { name: "schema", state: "failed", mend: /tintype migrate/ },
    ),
    "doctor says how to mend it",
  );
  const { applied } = await asJson("migrate", 0, empty);
  t.equal(applied.length, migrations.length);
  t.match((await tintype("migrate", 0, empty)).stdout, "up to date");
  t.strictSame(await asJson("migrate", 0, empty), { applied: [] });
  const after = await asJson("migrate --status", 0, empty);
  t.ok(after.migrations.every((row: { applied_at: string }) => Date.parse(row.applied_at) > 0));
});

t.test("doctor in health, and with what is broken", async (t) => {
  const [said, { ok, checks }] = await inBothForms("doctor", 0);
  t.ok(ok);
  const names = ["node", "features", "pictures", "media store", "staging", "postgres", "schema", "jobs", "stories"];
  t.strictSame(
    checks.map((check: { name: string }) => check.name),
    names,
  );
  t.notMatch(said.stdout, /FAIL/);

  const finding = async (name: string, expected: number, extra: Record<string, string>) => {
    const report = await asJson("doctor", expected, extra);
    t.equal(report.ok, false);
    return report.checks.find((check: { name: string }) => check.name === name);
  };
  t.match(await finding("postgres", 4, { TINTYPE_DATABASE_URL: nowhere }), { state: "failed", mend: /\S/ });
  const wrongPassword = new URL(database.url);
  wrongPassword.password = "wrong";
  t.match(await finding("postgres", 4, { TINTYPE_DATABASE_URL: wrongPassword.href }), {
    message: /password/,
    mend: /\S/,
  });
  const noDatabase = new URL(database.url);
  noDatabase.pathname = "/not_there";
  t.match(await finding("postgres", 4, { TINTYPE_DATABASE_URL: noDatabase.href }), {
    message: /not_there/,
    mend: /\S/,
  });

  const file = join(folder, "a-file");
  await writeFile(file, "");
  t.match(await finding("media store", 4, { TINTYPE_DATA_DIR: join(file, "data") }), { state: "failed", mend: /\S/ });
  const { stdout } = await tintype("doctor", 4, { TINTYPE_DATABASE_URL: nowhere });
  t.match(stdout, /^FAIL {2}postgres: .*\n {6}\S/m, "the mend stands under the finding");
});

t.test("doctor as a user who may not write", { skip: process.getuid?.() !== 0 && "needs another user" }, async (t) => {
  const locked = join(folder, "locked");
  await mkdir(locked, { mode: 0o755 });
  await chmod(folder, 0o755);
  const options = { uid: 12345, cwd: "/" };
  const { checks } = await asJson("doctor", 4, { TINTYPE_DATA_DIR: locked, HOME: "/" }, options);
  t.match(
    checks.find((check: { name: string }) => check.name === "media store"),
    { state: "failed", message: /EACCES/, mend: /permissions/ },
  );
});

t.test("logs are on stderr and stdout holds the result alone", async (t) => {
  const { stdout, stderr } = await tintype("users list --json", 0, { TINTYPE_LOG_LEVEL: "trace" });
  JSON.parse(stdout);
  for (const line of stderr.split("\n").filter(Boolean)) t.type(JSON.parse(line).level, "string");
  t.notMatch(stderr, /@example\.org/);
});

t.test("jobs: status, list, retry and purge", async (t) => {
  const dead = await waitFor(async () => {
    const { jobs } = await asJson("jobs list --failed", 0);
    return jobs.length === 2 && jobs;
  }, "two dead letters");
  for (const job of dead) {
    t.match(job, { id: UUID, queue: "media.process", state: "failed", attempts: 3, reason: /\S/ });
    t.match(job.data.medium_id, UUID);
  }
  // From here on nobody takes jobs.
  t.equal(await server.stop(), 0);

  const count = async (name: string) => {
    const { queues } = await asJson("jobs status", 0);
    return queues.find((row: { queue: string }) => row.queue === "media.process")[name];
  };
  const [table, list] = await inBothForms("jobs list --failed --queue media.process --limit 1", 0);
  t.equal(list.jobs.length, 1);
  t.match(table.stdout, /^ID +QUEUE +STATE/);
  t.strictSame((await asJson("jobs list --failed --queue media.remove", 0)).jobs, []);
  t.match((await tintype("jobs status", 0)).stdout, /^media\.process +0 +0 +0 +\d+ +2/m);
  t.match((await tintype("doctor", 0)).stdout, /^warn {2}jobs: .*\b2 failed/m);

  const [{ id }] = list.jobs;
  t.match(await asJson("jobs retry 0198f0a4-0000-7000-8000-000000000000", 1), { error: { code: "OperationError" } });
  t.strictSame(await asJson(`jobs retry ${id}`, 0), { retried: 1 });
  t.equal(await count("failed"), 1);
  t.equal(await count("waiting"), 1, "it waits for a worker");
  t.match((await asJson("jobs list --queue media.process", 0)).jobs, exactly({ state: "waiting", reason: null }));
  t.equal((await asJson(`jobs retry ${id}`, 1)).error.code, "OperationError", "it is not among the failed any more");

  t.strictSame(await asJson("jobs purge --older-than 1h", 0), { purged: 0, dry_run: false });
  t.strictSame(await asJson("jobs purge --dry-run", 0), { purged: 1, dry_run: true });
  t.equal(await count("failed"), 1, "a dry run deletes nothing");
  t.match((await tintype("jobs purge", 0)).stdout, /^Deleted 1 failed job\.$/m);
  t.equal(await count("failed"), 0);
  t.strictSame(await asJson("jobs retry --all", 0), { retried: 0 });

  const again = await startServer({ ...env, TINTYPE_WORKER_EMBEDDED: "true" });
  t.teardown(() => again.stop());
  const { token } = (
    await again.client.request("POST", "/auth/login", { json: { login: "ana", password: "the password of ana" } })
  ).body;
  for (const id of posts) {
    const { body } = await again.client.as(token).request("GET", `/posts/${id}`);
    t.match(body, { status: "failed", failure: { code: /\S/, message: /\S/ } }, "its author reads why");
  }
  await waitFor(async () => (await count("waiting")) === 0, "the retried job is taken");
});
