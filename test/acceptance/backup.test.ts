import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import {
  afterwards,
  brake,
  emptyTarget,
  folder,
  objectsOf,
  objectsOfMedium,
  ownedByPlainRole,
  query,
  rowsOf,
  serve,
  tintype,
} from "../support/backup.ts";
import { exactly } from "../support/exactly.ts";
import { picture } from "../support/pictures.ts";
import { start, waitFor } from "../support/server.ts";
import { processed, publish, startService } from "../support/service.ts";

const small = () => picture({ width: 64, height: 48 });

t.test("own Postgres → embedded → own Postgres: every row, every object, every job", async (t) => {
  const source = await startService(t, { TINTYPE_WORKER_EMBEDDED: "false" });
  const worker = start(["worker"], source.env);
  t.teardown(() => worker.stop());
  const [ana, ben] = [await source.client.register("ana"), await source.client.register("ben")];
  await publish(ana, [await small(), await small(), await small()], {
    caption: "tab \t newline \n backslash \\. \\N quote ' and \u{1f600}",
    altTexts: ["", "\\N", "b"],
  });
  await publish(ben, [await picture({ width: 900, height: 700 })]);
  t.equal((await ben.request("POST", `/users/ana/follow`)).status < 300, true);
  t.equal((await ana.request("POST", "/me/export")).status, 202);
  const takeout = async () => (await ana.request("GET", "/me/export")).body.status;
  await waitFor(async () => (await takeout()) === "ready", "the takeout");
  await worker.stop();
  const waiting = await ana.post([await small()], { caption: "still to be processed" });
  const inHand = await ana.post([await small()], { caption: "in the hands of a worker" });
  await tintype(["keys", "rotate"], source.env);
  await query(
    source.databaseUrl,
    `UPDATE pgboss.job SET state = 'active', started_on = now() WHERE data->>'medium_id' =
       (SELECT medium_id::text FROM post_media WHERE post_id = '${inHand}');
     ALTER TABLE pgboss.job ADD COLUMN of_another_version text DEFAULT 'x';
     -- Longer than what is held of a table at once.
     UPDATE sessions SET user_agent = repeat(md5(random()::text), 100000);
     INSERT INTO pgboss.job (name, data, source_name) VALUES ('dead_letters', '{"medium_id": "x"}', 'media.process')`,
  );

  const files = await folder(t);
  const [first, second] = [join(files, "first.tar"), join(files, "second.tar")];
  const rows = await rowsOf(source.databaseUrl);
  t.equal(rows.exports?.length, 1);
  // Who wants a takeout of the restored service asks for one there.
  rows.exports = [];
  const all = Object.entries(await objectsOf(source.dataDir));
  const objects = Object.fromEntries(all.filter(([key]) => !key.startsWith("exports/")));
  t.equal(all.length, Object.keys(objects).length + 1);
  t.ok((rows.users?.length ?? 0) === 2 && (rows["jobs that are not done"]?.length ?? 0) === 3);
  const report = await tintype(["backup", first], source.env);
  t.match(report, { file: first, objects: Object.keys(objects).length, missing: exactly(), damaged: exactly() });
  t.equal(
    report.rows,
    Object.values(rows).reduce((sum, table) => sum + table.length, 0),
  );
  t.equal(report.bytes, (await stat(first)).size);
  t.equal((await stat(first)).mode & 0o777, 0o600);
  t.strictSame(await readdir(files), ["first.tar"]);

  const root = await folder(t);
  const embedded = { TINTYPE_DATA_DIR: join(root, "data") };
  const held = await tintype(["restore", first, "--dry-run"], embedded);
  t.match(held, { dry_run: true, rows: report.rows, objects: report.objects, bytes: report.bytes });
  t.strictSame(await readdir(root), [], "a dry run touches nothing");
  t.match(await tintype(["restore", first], embedded), { dry_run: false, rows: report.rows, objects: report.objects });
  t.strictSame(await objectsOf(embedded.TINTYPE_DATA_DIR), objects);

  t.equal((await tintype(["backup", second], embedded)).rows, report.rows);
  const own = await emptyTarget(t);
  own.env.TINTYPE_DATABASE_URL = await ownedByPlainRole(t, own.databaseUrl);
  await tintype(["restore", second], own.env);
  t.strictSame(afterwards(await rowsOf(own.databaseUrl)), afterwards(rows));
  t.strictSame(await objectsOf(own.dataDir), objects);
  const constraints = `SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2`;
  t.strictSame(await query(own.databaseUrl, constraints), await query(source.databaseUrl, constraints));

  for (const env of [embedded, { ...own.env, TINTYPE_WORKER_EMBEDDED: "true" }]) {
    const server = await serve(t, env);
    const login = await server.client.request("POST", "/auth/login", {
      json: { login: "ana", password: ana.password },
    });
    t.equal(login.status, 200, "the old password");
    const reader = server.client.as(ben.token);
    const feed = await reader.request("GET", "/feed");
    t.equal(feed.status, 200, "an old token");
    t.ok(feed.body.items.length >= 2);
    t.equal((await server.client.as(ana.token).request("GET", "/me/export")).body.status, "none");
    const rendition = new URL(feed.body.items.at(-1).media[0].large_url);
    t.equal((await reader.request("GET", `${rendition.pathname}${rendition.search}`)).status, 200);
    for (const post of [waiting, inHand]) {
      t.equal((await processed(server.client.as(ana.token), post)).status, "published", "a job that waited is done");
    }
    t.equal((await tintype(["jobs", "list", "--failed"], env)).jobs.length, 1, "a dead letter is one still");
    await tintype(["keys", "rotate"], env);
    await server.client.register("cleo");
  }
});

t.test("while people post and delete, a backup is of one moment and lacks nothing", async (t) => {
  const source = await startService(t);
  const file = join(await folder(t), "busy.tar");
  let busy = true;
  const people = ["ana", "ben"].map(async (name) => {
    const person = await source.client.register(name);
    for (let post = await publish(person, [await small()]); busy; ) {
      const next = await publish(person, [await small(), await small()]);
      await person.request("DELETE", `/posts/${post.id}`);
      post = next;
    }
  });
  for (let time = 0; time < 3; time++) {
    t.match(await tintype(["backup", file, "--force"], source.env), { missing: exactly(), damaged: exactly() });
  }
  busy = false;
  await Promise.all(people);

  const target = await emptyTarget(t);
  await tintype(["restore", file], target.env);
  const [wrong] = await query(
    target.databaseUrl,
    `SELECT (SELECT count(*) FROM users WHERE post_count <> (SELECT count(*) FROM posts
         WHERE user_id = users.id AND status = 'published'))::int AS counts,
       (SELECT count(*) FROM post_media LEFT JOIN media ON media.id = medium_id WHERE media.id IS NULL)::int AS media`,
  );
  t.strictSame(wrong, { counts: 0, media: 0 });
  const there = await objectsOf(target.dataDir);
  const known = await query(
    target.databaseUrl,
    `SELECT 'originals/' || right(id::text, 2) || '/' || id AS key, encode(sha256, 'hex') AS sha256 FROM media
       WHERE state <> 'removed'
     UNION ALL SELECT 'renditions/' || right(m.id::text, 2) || '/' || m.id || '/' || r.name || '.webp', encode(r.sha256, 'hex')
       FROM renditions r JOIN media m ON m.id = medium_id WHERE state = 'ready' ORDER BY key`,
  );
  t.strictSame(Object.entries(there), known.map(({ key, sha256 }) => [key, sha256]).sort());
});

t.test("objects of what is deleted meanwhile stay until the backup has them", async (t) => {
  const source = await startService(t);
  const ana = await source.client.register("ana");
  const post = await publish(ana, [await small()]);
  const medium = post.media[0].id;
  const files = await folder(t);
  const file = join(files, "a.tar");

  // It comes late among the tables: the snapshot is there by then, and the rows of the post are copied.
  const first = await brake(t, source.databaseUrl, "reserved_usernames");
  const backup = start(["backup", file, "--json"], source.env);
  await waitFor(first.waiting, "the backup to be in the middle");
  t.match((await tintype(["backup", join(files, "b.tar")], source.env, 1)).error, { message: /another backup/ });
  t.equal((await ana.request("DELETE", `/posts/${post.id}`)).status, 204);
  const removal = "FROM pgboss.job WHERE name = 'media.remove' AND state = 'created'";
  await waitFor(
    async () => (await query(source.databaseUrl, `SELECT ${removal} AND start_after > now()`)).length > 0,
    "the removal to be put back",
  );
  t.equal((await objectsOfMedium(source, medium)).length, 5);
  await first.release();
  t.equal(await backup.exited, 0, backup.output());
  await waitFor(async () => (await objectsOfMedium(source, medium)).length === 0, "the objects to go");
  t.match(
    await query(source.databaseUrl, "SELECT max(retry_count) AS tries FROM pgboss.job WHERE name = 'media.remove'"),
    exactly({ tries: 0 }),
  );

  const target = await emptyTarget(t);
  await tintype(["restore", file], target.env);
  t.equal((await objectsOfMedium(target, medium)).length, 5);
  const server = await serve(t, target.env);
  t.equal((await server.client.as(ana.token).request("GET", `/posts/${post.id}`)).status, 200);
});
