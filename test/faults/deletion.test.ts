import { execFile } from "node:child_process";
import { createWriteStream } from "node:fs";
import { readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";
import t, { type Test } from "tap";
import type { SignedIn } from "../support/client.ts";
import { wrongCounters } from "../support/counters.ts";
import { exactly } from "../support/exactly.ts";
import { picture } from "../support/pictures.ts";
import { start, waitFor } from "../support/server.ts";
import { publish, type Service, startService } from "../support/service.ts";
import { publishStory } from "../support/stories.ts";
import { openUpload } from "../support/upload.ts";

t.jobs = 2;

interface Place extends Service {
  sql: pg.Pool;
}

async function place(t: Test, settings: Record<string, string> = {}): Promise<Place> {
  const service = await startService(t, settings);
  const sql = new pg.Pool({ connectionString: service.databaseUrl, max: 3 });
  t.teardown(() => sql.end());
  return { ...service, sql };
}

async function deleteAccount(person: SignedIn): Promise<void> {
  const { status, bytes } = await person.request("DELETE", "/me", { json: { password: person.password } });
  if (status !== 202) throw new Error(`DELETE /me: ${status} ${bytes}`);
}

async function untilGone({ sql }: Place, { id }: SignedIn): Promise<void> {
  const gone = async () => (await sql.query("SELECT FROM users WHERE id = $1", [id])).rowCount === 0;
  await waitFor(gone, "the account to be gone");
}

/** The tables of which a row names one of these, wherever in it. */
async function tablesNaming({ sql }: Place, texts: readonly string[]): Promise<string[]> {
  const { rows } = await sql.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1");
  const naming: string[] = [];
  for (const { tablename } of rows) {
    const pattern = texts.map((text) => `%${text}%`);
    const found = await sql.query(`SELECT FROM "${tablename}" AS one WHERE one::text LIKE ANY ($1) LIMIT 1`, [pattern]);
    if (found.rowCount) naming.push(tablename);
  }
  return naming;
}

/** What the store and the staging folder hold. */
async function storedFiles({ dataDir }: Place): Promise<string[]> {
  const folders = ["media", "staging"].map((name) => join(dataDir, name));
  const entries = await Promise.all(
    folders.map((folder) => readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])),
  );
  const files = entries.flat().filter((entry) => !entry.isDirectory() && entry.name !== "tintype-store.txt");
  return files.map((entry) => join(entry.parentPath, entry.name)).sort();
}

/** Everything that one can have: relations of each kind, both ways, and posts in each state. */
async function liveALife(here: Place, ana: SignedIn, others: Record<"bert" | "cleo" | "emil", SignedIn>) {
  const { bert, cleo, emil } = others;
  for (const [who, what, whom] of [
    [bert, "follow", "ana"],
    [cleo, "follow", "ana"],
    [ana, "follow", "bert"],
    [ana, "mute", "bert"],
    [bert, "mute", "ana"],
    [ana, "block", "dora"],
    [emil, "block", "ana"],
    [bert, "follow", "cleo"],
  ] as const) {
    const { status } = await who.request("POST", `/users/${whom}/${what}`);
    if (status !== 200) throw new Error(`${what} ${whom}: ${status}`);
  }
  await cleo.request("PATCH", "/me", { json: { is_private: true } });
  await ana.request("POST", "/users/cleo/follow");
  await ana.request("PATCH", "/me", { json: { is_private: true, username: "ana.renamed" } });
  const fifth = await here.client.register("fred");
  await fifth.request("POST", "/users/ana.renamed/follow");
}

t.test("nothing of it is left, of the others everything", { buffered: true }, async (t) => {
  const here = await place(t);
  const { client, sql, dataDir } = here;
  const register = (name: string) => client.register(name);
  const [ana, bert, cleo, emil] = await Promise.all([
    register("ana"),
    register("bert"),
    register("cleo"),
    register("emil"),
    register("dora"),
  ]);
  const photo = await picture({ width: 300, height: 200 });
  await publish(bert, [photo]);
  await publishStory(bert, photo);
  const ofOthers = await storedFiles(here);
  await liveALife(here, ana, { bert, cleo, emil });
  await publish(ana, [photo, photo], { caption: "one" });
  const broken = await ana.post([photo.subarray(0, 3_000)]);
  const failed = async () => (await ana.request("GET", `/posts/${broken}`)).body.status === "failed";
  await waitFor(failed, "a post to fail");
  const form = new FormData();
  form.append("file", new Blob([Uint8Array.from(photo)]), "me.jpg");
  t.ok((await ana.request("PUT", "/me/avatar", { form })).status < 300);
  const shown = async () => (await ana.request("GET", "/me")).body.avatar_url !== null;
  await waitFor(shown, "the avatar");

  const mine = await publishStory(ana, photo);
  const { body: theirs } = await bert.request("GET", "/users/bert/stories");
  t.equal((await bert.request("GET", `/stories/${mine.id}`)).status, 200);
  t.equal((await ana.request("PATCH", "/me/story-preferences", { json: { keep_archive: true } })).status, 200);
  for (const story_ids of [[mine.id], undefined]) {
    t.equal((await ana.request("POST", "/me/highlights", { json: { title: "x", story_ids } })).status, 201);
  }
  const views = [
    [mine.id, bert.id],
    [theirs.items[0].id, ana.id],
    [theirs.items[0].id, cleo.id],
  ];
  for (const view of views) {
    await sql.query("INSERT INTO story_views (story_id, viewer_id, reaction) VALUES ($1, $2, '☀')", view);
    await sql.query("UPDATE stories SET view_count = view_count + 1 WHERE id = $1", [view[0]]);
  }

  // An export that goes on for as long as somebody writes into the original it is reading.
  const { rows } = await sql.query("SELECT id FROM media WHERE owner_id = $1 ORDER BY id LIMIT 1", [ana.id]);
  const original = join(dataDir, "media", "originals", rows[0].id.slice(-2), rows[0].id);
  await rename(original, join(dataDir, "aside"));
  await promisify(execFile)("mkfifo", [original]);
  t.equal((await ana.request("POST", "/me/export")).status, 202);
  const pipe = createWriteStream(original);
  const closed = new Promise<void>((resolve) => pipe.on("error", () => resolve()));
  const dripping = setInterval(() => pipe.write(Buffer.alloc(64 * 1024)), 20);
  const making = async () => (await storedFiles(here)).some((file) => file.includes("/export-"));
  await waitFor(making, "the export to be under way");
  const upload = await openUpload(here.server.url, ana.token, photo);
  const posting = Array.from({ length: 3 }, () => ana.post([photo]));
  await Promise.all(posting);

  await deleteAccount(ana);
  const late = await upload.finish();
  t.equal(late.status, 401, "what was being sent finds nobody any more");
  for (const [who, path] of [
    [bert, "/users/ana.renamed/follow"],
    [emil, "/users/ana.renamed/block"],
  ] as const) {
    t.equal((await who.request("POST", path)).status, 404);
  }
  await untilGone(here, ana);
  await closed;
  clearInterval(dripping);

  t.strictSame(await tablesNaming(here, [ana.id, "ana@example.org"]), [], "no table names it");
  t.strictSame(await tablesNaming(here, ["ana.renamed"]), ["reserved_usernames"], "but that of names that are held");
  t.strictSame(await storedFiles(here), ofOthers, "no object is left");
  t.strictSame(await wrongCounters(here.sql), []);
  const { body } = await bert.request("GET", "/me");
  t.match(body, { follower_count: 0, following_count: 1, post_count: 1 });
  t.match((await bert.request("GET", "/users/bert/stories")).body.items, exactly({ view_count: 1 }));
  t.equal((await sql.query("SELECT FROM story_views")).rowCount, 1, "cleo's view of bert's story");
  const { rows: deadLetters } = await sql.query("SELECT data FROM pgboss.job WHERE name = 'dead_letters'");
  t.notOk(deadLetters.some(({ data }) => JSON.stringify(data).includes(ana.id)));
});

t.test("while an export is asked for, and while a backup runs", { buffered: true }, async (t) => {
  const here = await place(t);
  const { client, sql } = here;
  const photo = await picture({ width: 200, height: 150 });
  for (const name of ["una", "dua", "tria"]) {
    const person = await client.register(name);
    await publish(person, [photo]);
    const asking = Array.from({ length: 4 }, () => person.request("POST", "/me/export"));
    await Promise.all([deleteAccount(person), ...asking]);
    const statuses = (await Promise.all(asking)).map(({ status }) => status);
    t.notOk(
      statuses.some((status) => status !== 202 && status !== 401),
      statuses.join(", "),
    );
    await untilGone(here, person);
    t.strictSame(await tablesNaming(here, [person.id]), []);
    t.strictSame(await storedFiles(here), []);
  }

  const ana = await client.register("ana");
  await publish(ana, [photo]);
  const before = await storedFiles(here);
  await sql.query(
    "INSERT INTO backup_leases (holder, expires_at) VALUES (gen_random_uuid(), now() + interval '1 hour')",
  );
  await deleteAccount(ana);
  const waits = async () =>
    (await sql.query("SELECT FROM media WHERE state = 'removed'")).rowCount &&
    (await sql.query("SELECT FROM pgboss.job WHERE name = 'accounts.delete' AND state = 'created'")).rowCount;
  await waitFor(waits, "the deletion to wait for the backup");
  t.strictSame(await storedFiles(here), before, "the backup can read every object");
  await sql.query("DELETE FROM backup_leases");
  await untilGone(here, ana);
  t.strictSame(await storedFiles(here), []);
});

t.test("kill -9 of the worker, again and again", { buffered: true }, async (t) => {
  const here = await place(t, { TINTYPE_WORKER_EMBEDDED: "false" });
  const { client, sql, env } = here;
  const [ana, bert, cleo] = await Promise.all([
    client.register("ana"),
    client.register("bert"),
    client.register("cleo"),
  ]);
  const photo = await picture({ width: 200, height: 150 });
  for (let round = 0; round < 5; round++) {
    await Promise.all(Array.from({ length: 10 }, () => ana.post([photo, photo])));
  }
  // Another picture: what two killed workers had in hand is not processed any more, whoever posts it.
  await bert.post([await picture({ width: 120, height: 90 })]);
  await bert.request("POST", "/users/ana/follow");
  await ana.request("POST", "/users/bert/follow");
  await sql.query(
    `WITH added AS (
       INSERT INTO users (id, username, email, password_hash, follower_count, following_count)
       SELECT gen_random_uuid(), 'fan_' || n, 'fan_' || n || '@example.org', '', (n <= 2000)::int, 1
       FROM generate_series(1, 6000) AS n RETURNING id, follower_count),
     following AS (INSERT INTO follows (follower_id, following_id) SELECT id, $1::uuid FROM added),
     followed AS (INSERT INTO follows (follower_id, following_id) SELECT $1, id FROM added WHERE follower_count = 1),
     blocking AS (INSERT INTO blocks (blocker_id, blocked_id) SELECT $2::uuid, id FROM added)
     INSERT INTO mutes (muter_id, muted_id) SELECT id, $1 FROM added`,
    [ana.id, cleo.id],
  );
  await sql.query(
    "UPDATE users SET follower_count = follower_count + 6000, following_count = following_count + 2000 WHERE id = $1",
    [ana.id],
  );
  t.equal((await ana.request("POST", "/me/export")).status, 202);

  /** How much there is of the account. */
  const left = async () => {
    const { rows } = await sql.query(
      `SELECT (SELECT count(*) FROM follows WHERE $1 IN (follower_id, following_id)) +
              (SELECT count(*) FROM mutes WHERE muted_id = $1) + (SELECT count(*) FROM posts WHERE user_id = $1) +
              (SELECT count(*) FROM media WHERE owner_id = $1) + (SELECT count(*) FROM exports) AS n`,
      [ana.id],
    );
    return Number(rows[0].n);
  };
  let stop = false;
  const statuses = new Set<string>();
  const others = [bert, cleo].map(async (who, n) => {
    for (let step = 0; !stop; step++) {
      const whom = ["ana", "bert", "cleo"][(n + step) % 3] ?? "ana";
      const method = step % 2 ? "DELETE" : "POST";
      if (whom === who.username) continue;
      const { status } = await who.request(method, `/users/${whom}/follow`);
      statuses.add(`${whom} ${status}`);
      await delay(5);
    }
  });
  let kills = 0;
  const states: number[] = [await left()];
  const worker = () => {
    const started = start(["worker"], env);
    t.teardown(() => started.kill());
    return started;
  };
  let running = worker();
  await waitFor(async () => (await sql.query("SELECT FROM posts WHERE status = 'published'")).rowCount, "a first post");
  await deleteAccount(ana);
  statuses.clear();
  for (let now = await left(); kills < 8 && now > 0; now = await left()) {
    // A random share of what is left is to be done before the next kill.
    const enough = kills < 2 ? now - 1 - Math.random() * 150 : now * Math.random();
    await waitFor(async () => (await left()) <= enough, "the deletion to go on");
    await running.kill();
    kills++;
    states.push(await left());
    // That a killed worker is missed after a while is tested elsewhere.
    await sql.query(
      "UPDATE pgboss.job SET state = 'retry', start_after = now(), heartbeat_on = NULL WHERE state = 'active'",
    );
    running = worker();
  }
  await untilGone(here, ana);
  t.comment(`what was left at each kill: ${states.join(", ")}`);
  t.ok(
    states.some((n, index) => index > 0 && n > 0),
    "it was killed in the middle",
  );
  stop = true;
  await Promise.all(others);
  t.notOk(
    [...statuses].some((status) => /^ana 200| 5\d\d$/.test(status)),
    [...statuses].join(", "),
  );

  t.strictSame(await tablesNaming(here, [ana.id, "ana@example.org"]), []);
  t.strictSame(await wrongCounters(here.sql), []);
  const published = async () => (await sql.query("SELECT FROM posts WHERE status = 'published'")).rowCount === 1;
  await waitFor(published, "the others' posts");
  const { rows } = await sql.query("SELECT id FROM media");
  t.equal(rows.length, 1);
  // Unfinished renditions of a killed worker lie in the staging folder until they are swept.
  const strange = (await storedFiles(here)).filter((file) => !file.includes(rows[0].id) && !file.includes("/render-"));
  t.strictSame(strange, [], "no object but the other's");
  await running.stop();
});
