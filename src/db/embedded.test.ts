import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFile,
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { pino } from "pino";
import t from "tap";
import { firstUnreachable } from "./embedded/account.ts";
import { findPackage } from "./embedded/binaries.ts";
import { type EmbeddedPostgres, inspectEmbeddedPostgres, openEmbeddedPostgres } from "./embedded.ts";

const isRoot = process.getuid?.() === 0;
const rootOnly = isRoot ? {} : { skip: "needs root" };
const PLAIN_USER = 1000;
const log = pino({ level: "silent" });

const open = (dataDir: string, role: "serve" | "command" = "command") => openEmbeddedPostgres({ dataDir, role, log });

type Asserts = Pick<typeof t, "match" | "equal" | "same">;

/** A folder that every account can enter; whatever server is left in it or below is killed with it. */
async function folder(test: Pick<typeof t, "teardown">): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "embedded-"));
  await chmod(path, 0o755);
  test.teardown(async () => {
    const { running, pid } = await inspectEmbeddedPostgres(join(path, "data"));
    if (running && pid) process.kill(pid, "SIGQUIT");
    await until(async () => !(await inspectEmbeddedPostgres(join(path, "data"))).running);
    await rm(path, { recursive: true, force: true, maxRetries: 5 });
  });
  return path;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 60_000; !(await holds()); await delay(20)) {
    if (Date.now() > deadline) throw new Error("it did not come true within 60 s");
  }
}

async function query(postgres: EmbeddedPostgres, sql: string): Promise<Record<string, unknown>> {
  const client = new pg.Client(postgres.connection);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows[0] ?? {};
  } finally {
    await client.end();
  }
}

/** Another tintype process: it opens the data dir, says so, and closes when its stdin ends. */
const OTHER_PROCESS = `
  import { openEmbeddedPostgres } from ${JSON.stringify(import.meta.resolve("./embedded.ts"))};
  import { pino } from ${JSON.stringify(import.meta.resolve("pino"))};
  const [dataDir, role] = process.argv.slice(1);
  const say = (message) => console.log(JSON.stringify(message));
  try {
    const { pid, how, close } = await openEmbeddedPostgres({ dataDir, role, log: pino({ level: "silent" }) });
    say({ pid, how });
    process.stdin.resume().on("end", async () => say(await close()));
  } catch ({ name, message, exitCode }) {
    say({ name, message, exitCode });
  }
`;

interface Other {
  process: ChildProcess;
  /** What it says next. */
  says(): Promise<unknown>;
  close(): Promise<unknown>;
}

function otherProcess(dataDir: string, role: "serve" | "command", uid?: number): Other {
  // `env -i` takes away what tap puts into the environment of children: it writes where a plain user may not.
  const node = [process.execPath, "--input-type=module", "--eval", OTHER_PROCESS];
  const child = spawn("env", ["-i", ...node, "--", dataDir, role], {
    cwd: "/",
    detached: true,
    stdio: ["pipe", "pipe", "inherit"],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const says = async () => JSON.parse((await lines.next()).value ?? "null") as unknown;
  return {
    process: child,
    says,
    close: () => {
      child.stdin.end();
      return says();
    },
  };
}

t.test("an empty folder becomes a cluster, which a lone command starts and stops", async (t) => {
  const dataDir = join(await folder(t), "data");
  t.same(await inspectEmbeddedPostgres(dataDir), { initialized: false, running: false, pid: null, major: null });
  const postgres = await open(dataDir);
  t.equal(postgres.how, "started");
  t.match(await inspectEmbeddedPostgres(dataDir), { initialized: true, running: true, pid: postgres.pid });
  t.match(
    await query(
      postgres,
      `SELECT current_setting('listen_addresses') AS addresses, current_setting('timezone') AS timezone,
              current_setting('fsync') AS fsync, current_setting('server_encoding') AS encoding,
              datlocprovider AS provider, datlocale AS locale, lower('ÀÉ') AS lower
         FROM pg_database WHERE datname = current_database()`,
    ),
    { addresses: "", timezone: "UTC", fsync: "on", encoding: "UTF8", provider: "b", locale: "C.UTF-8", lower: "àé" },
  );
  const wrong = { ...postgres, connection: { ...postgres.connection, password: "guess" } };
  await t.rejects(query(wrong, "SELECT 1"), { code: "28P01" }, "even over the socket a password is asked for");
  await query(postgres, "CREATE TABLE kept AS SELECT 1 AS one");

  const root = await stat(join(dataDir, "postgres"));
  t.equal(root.mode & 0o777, 0o700);
  t.equal((await stat(join(dataDir, "postgres", "password"))).mode & 0o777, 0o600);
  t.equal(root.uid, isRoot ? 65534 : process.getuid?.());

  t.same(await postgres.close(), { stopped: true });
  t.same(await postgres.close(), { stopped: true }, "closing twice is closing once");
  t.match(await inspectEmbeddedPostgres(dataDir), { initialized: true, running: false, pid: null });

  const again = await open(dataDir);
  t.same(await query(again, "SELECT one FROM kept"), { one: 1 });
  await again.close();
});

t.test("several processes at once on an empty folder share one server, and the last one out stops it", async (t) => {
  const dataDir = join(await folder(t), "data");
  // Rests of builders: one that died, and one that may be at work still.
  for (const name of ["dead", "alive"]) await mkdir(join(dataDir, `postgres.init-${name}`), { recursive: true });
  await utimes(join(dataDir, "postgres.init-dead"), 0, 0);
  const others = [1, 2, 3].map(() => otherProcess(dataDir, "command"));
  const opened = (await Promise.all(others.map((other) => other.says()))) as EmbeddedPostgres[];
  t.equal(new Set(opened.map(({ pid }) => pid)).size, 1);
  t.same(opened.map(({ how }) => how).sort(), ["adopted", "adopted", "started"]);
  t.same((await readdir(dataDir)).sort(), ["postgres", "postgres.init-alive"], "what the losers initialized is gone");
  const closed = await Promise.all(others.map((other) => other.close()));
  t.equal(closed.filter((result) => (result as { stopped: boolean }).stopped).length, 1);
});

/** One cluster for the tests that need no empty folder; each leaves its server stopped. */
const dataDir = join(await folder(t), "data");

t.test("who comes while the last one goes starts it again", async (t) => {
  let starts = 0;
  const visitor = async () => {
    for (let visit = 0; visit < 5; visit++) {
      const postgres = await open(dataDir);
      if (postgres.how === "started") starts++;
      t.same(await query(postgres, "SELECT 1 AS one"), { one: 1 });
      await postgres.close();
    }
  };
  await Promise.all([visitor(), visitor(), visitor()]);
  t.ok(starts > 1, `started ${starts} times`);
  t.equal((await inspectEmbeddedPostgres(dataDir)).running, false);
});

t.test("one serve a data dir", async (t) => {
  const serve = otherProcess(dataDir, "serve");
  t.match(await serve.says(), { how: "started" });

  const command = await open(dataDir);
  t.equal(command.how, "adopted");
  t.same(await command.close(), { stopped: false }, "a command leaves the server of a serve running");
  await t.rejects(open(dataDir, "serve"), {
    name: "ConfigError",
    message: `another tintype serve (pid ${serve.process.pid}) runs on ${dataDir}`,
  });

  const late = await open(dataDir);
  const ended = once(serve.process, "close");
  t.same(await serve.close(), { stopped: false }, "nor does a serve take it away from a command");
  t.same(await ended, [0, null], "who has started the server ends, though it runs on");
  t.same(await query(late, "SELECT 1 AS one"), { one: 1 });
  t.same(await late.close(), { stopped: true });
});

t.test("the server outlives a serve that is killed, and Ctrl-C", async (t) => {
  const killed = otherProcess(dataDir, "serve");
  const { pid } = (await killed.says()) as EmbeddedPostgres;
  killed.process.kill("SIGKILL");
  await once(killed.process, "close");

  const interrupted = otherProcess(dataDir, "serve");
  t.same(await interrupted.says(), { pid, how: "adopted" });
  await signalGroup(interrupted, "SIGINT");

  const command = await open(dataDir);
  t.equal(command.pid, pid);
  t.same(await command.close(), { stopped: true });

  const started = otherProcess(dataDir, "serve");
  const next = (await started.says()) as EmbeddedPostgres;
  t.equal(next.how, "started");
  await signalGroup(started, "SIGTERM");
  const adopted = await open(dataDir, "serve");
  t.match(adopted, { how: "adopted", pid: next.pid });
  t.same(await adopted.close(), { stopped: true });

  async function signalGroup({ process: { pid = 0 }, process: child }: Other, signal: NodeJS.Signals) {
    process.kill(-pid, signal);
    await once(child, "close");
    t.equal(child.signalCode, signal);
  }
});

t.test("a server that is killed", async (t) => {
  const pidFile = join(dataDir, "postgres", "data", "postmaster.pid");
  /** The server dies as in a power cut: its postmaster.pid stays. */
  const kill = async (t: Asserts) => {
    const { promise, resolve } = Promise.withResolvers<Error>();
    const postgres = await openEmbeddedPostgres({ dataDir, role: "serve", log, onLost: resolve });
    process.kill(postgres.pid, "SIGKILL");
    t.match(await promise, { name: "DependencyError", message: "the embedded Postgres went away" });
    t.same(await postgres.close(), { stopped: false });
  };
  const startsAgain = async (t: Asserts) => {
    const postgres = await open(dataDir, "serve");
    t.equal(postgres.how, "started");
    t.same(await postgres.close(), { stopped: true });
  };
  await t.test("is noticed, and the next one starts in spite of its postmaster.pid", async (t) => {
    await kill(t);
    await startsAgain(t);
  });
  for (const who of ["the same user", ...(isRoot ? ["another user"] : [])]) {
    await t.test(`even if its process id is now one of ${who}`, async (t) => {
      await kill(t);
      const owner = await stat(pidFile);
      const account = isRoot && who === "the same user" ? { uid: owner.uid, gid: owner.gid } : {};
      const stranger = spawn("sleep", ["60"], { cwd: "/", stdio: "ignore", ...account });
      t.teardown(() => stranger.kill());
      const text = await readFile(pidFile, "utf8");
      await writeFile(pidFile, text.replace(/^\d+/, String(stranger.pid)));
      t.equal((await inspectEmbeddedPostgres(dataDir)).running, false);
      await startsAgain(t);
      t.equal(stranger.exitCode, null, "which is left alone");
    });
  }
});

t.test("a package that cannot be used where it lies is copied once", async (t) => {
  const outside = await folder(t);
  const dataDir = join(outside, "data");
  const source = await findPackage();
  const directory = join(outside, "package");
  await mkdir(directory);
  execFileSync("cp", ["-a", join(source.directory, "native"), directory]);
  // As a plain user it is unusable for want of the links that npm's install script makes, as root also out of reach.
  const links = JSON.parse(await readFile(join(directory, "native", "pg-symlinks.json"), "utf8")) as {
    target: string;
  }[];
  for (const { target } of links) await rm(join(directory, target));
  if (isRoot) await chmod(directory, 0o700);

  const postgres = await openEmbeddedPostgres({ dataDir, role: "command", log, source: { ...source, directory } });
  t.same(await query(postgres, "SELECT 1 AS one"), { one: 1 });
  t.same(await postgres.close(), { stopped: true });
  t.same(await readdir(join(dataDir, "postgres-bin")), [source.version]);
  const { ino } = await stat(join(dataDir, "postgres-bin", source.version));
  const again = await openEmbeddedPostgres({ dataDir, role: "command", log, source: { ...source, directory } });
  await again.close();
  t.equal((await stat(join(dataDir, "postgres-bin", source.version))).ino, ino);
});

t.test("a copy of a data dir, made while its server ran, has a server of its own", async (t) => {
  const outside = await folder(t);
  const original = join(outside, "original");
  const copy = join(outside, "data");
  await (await open(original)).close();
  // Copied in order but for the files that a running server has, so that it is no matter of luck.
  execFileSync("cp", ["-a", original, copy]);
  const running = await open(original);
  t.teardown(() => running.close());
  for (const file of ["data/postmaster.pid", ".s.PGSQL.5432.lock"]) {
    execFileSync("cp", ["-a", join(original, "postgres", file), join(copy, "postgres", file)]);
  }
  const second = await open(copy);
  t.equal(second.how, "started");
  t.not(second.pid, running.pid);
  await query(second, "CREATE TABLE copied ()");
  t.same(await query(running, "SELECT to_regclass('copied') AS copied"), { copied: null });
  t.same(await second.close(), { stopped: true });
  t.same(await query(running, "SELECT 1 AS one"), { one: 1 });
});

t.test("a data dir with a long path has its socket elsewhere", async (t) => {
  const outside = await folder(t);
  const long = join(outside, "data", "a folder with a 'long' name ".repeat(6), "%d\\,=é");
  const postgres = await open(long);
  const { host } = postgres.connection;
  t.match(host, /^\/tmp\/tintype-[0-9a-f]{16}$/);
  t.teardown(() => rm(host, { recursive: true, force: true }));
  t.equal((await stat(host)).mode & 0o777, 0o700);
  const other = await open(long);
  t.match(other, { how: "adopted", pid: postgres.pid });
  await other.close();
  t.same(await postgres.close(), { stopped: true });

  await chmod(host, 0o777);
  await t.rejects(open(long), { name: "ConfigError", message: `${host} is not a private folder of user id` });
});

t.test("what cannot be used is refused with the mend", async (t) => {
  const outside = await folder(t);
  const dataDir = join(outside, "data");
  await writeFile(join(outside, "file"), "");
  await t.rejects(open(join(outside, "file", "data")), {
    name: "ConfigError",
    message: "cannot be made: a file lies in its way",
  });

  await t.test("a data dir that Postgres' user cannot reach", rootOnly, async (t) => {
    const closed = join(outside, "closed");
    await mkdir(closed, { mode: 0o700 });
    await t.rejects(open(join(closed, "data")), {
      name: "ConfigError",
      message: `runs as user id 65534, which may not enter ${closed}`,
      hint: `chmod o+x ${closed}`,
    });
    t.same(await readdir(closed), [], "and is not made");
  });

  await (await open(dataDir)).close();
  const data = join(dataDir, "postgres", "data");

  await t.test("settings that Postgres refuses", async (t) => {
    const settings = join(data, "postgresql.conf");
    const text = await readFile(settings, "utf8");
    await appendFile(settings, "shared_buffers = plenty\n");
    await t.rejects(open(dataDir), { name: "DependencyError", message: /invalid value.*shared_buffers/ });
    await writeFile(settings, text);
  });

  await t.test("damage that Postgres writes to its log", async (t) => {
    await rm(join(data, "pg_wal"), { recursive: true });
    await t.rejects(open(dataDir), { name: "DependencyError", message: /FATAL: .*pg_wal/ });
  });

  await t.test("a cluster of another major", async (t) => {
    await writeFile(join(data, "PG_VERSION"), "17\n");
    await t.rejects(open(dataDir), { name: "ConfigError", message: "made by Postgres 17", hint: /backup.*restore/ });
    t.match(await inspectEmbeddedPostgres(dataDir), { major: 17, running: false });
  });

  await t.test("a folder that holds no cluster", async (t) => {
    await rm(join(data, "PG_VERSION"));
    await t.rejects(open(dataDir), { name: "ConfigError", message: "holds no database" });
  });
});

const closedToPlainUser = isRoot
  ? await firstUnreachable({ uid: PLAIN_USER, gid: PLAIN_USER }, import.meta.dirname)
  : "run as root to try two users";
t.test(
  "a plain user's cluster stays theirs when root comes along",
  closedToPlainUser === null ? {} : { skip: closedToPlainUser },
  async (t) => {
    const outside = await folder(t);
    await chmod(outside, 0o700);
    await chown(outside, PLAIN_USER, PLAIN_USER);
    const dataDir = join(outside, "data");

    const user = otherProcess(dataDir, "serve", PLAIN_USER);
    const { pid } = (await user.says()) as EmbeddedPostgres;
    const root = await open(dataDir);
    t.match(root, { how: "adopted", pid });
    await root.close();
    t.same(await user.close(), { stopped: true });

    const alone = await open(dataDir);
    t.equal(alone.how, "started");
    t.same(await alone.close(), { stopped: true });
    const again = otherProcess(dataDir, "command", PLAIN_USER);
    t.match(await again.says(), { how: "started" });
    t.same(await again.close(), { stopped: true });

    await chmod(outside, 0o711);
    const stranger = otherProcess(dataDir, "command", PLAIN_USER + 1);
    t.match(await stranger.says(), { name: "ConfigError", exitCode: 3 });
  },
);
