import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import t from "tap";
import { exactly } from "../support/exactly.ts";
import { picture } from "../support/pictures.ts";
import { run, start, startServer, temporaryFolder, waitFor } from "../support/server.ts";
import { publish, startService } from "../support/service.ts";
import { postStory, processedStory } from "../support/stories.ts";

const CORE = "tickets,accounts,idempotency,graph,media,avatars,posts";

t.test("a feature that is left out leaves no route and no trace", async (t) => {
  const [full, lean] = await Promise.all([startService(t), startService(t, { TINTYPE_FEATURES: CORE })]);
  const ana = await lean.client.register("ana");
  for (const path of [
    "/feed",
    "/search/users?q=ana",
    "/me/suggestions",
    "/me/export",
    "/notifications",
    "/users/ana/stories",
  ]) {
    for (const client of [ana, lean.client]) {
      const { status, body } = await client.request("GET", path);
      t.equal(status, 404, path);
      t.equal(body.error.code, "ROUTE_NOT_FOUND");
    }
    t.equal((await full.client.request("GET", path)).status, 401, "where it is on, it is there");
  }

  const routes = async ({ server }: typeof full) => (await server.client.request("GET", "/openapi.json")).body;
  const [everything, rest] = [await routes(full), await routes(lean)];
  // Who is a close friend, and from whom stories are hidden, is of the graph, which decides who sees whom.
  const optional =
    /\/feed|\/search|\/suggestions|\/export|\/like|\/save|\/collections|\/comments|\/tags|\/notification|\/stories|\/story-p|\/highlights/;
  const paths = Object.keys(everything.paths).sort();
  t.ok(paths.some((path) => optional.test(path)));
  const others = paths.filter((path) => !optional.test(path));
  t.strictSame(Object.keys(rest.paths).sort(), others, "these are gone, and nothing else is");

  const post = await publish(ana, [await picture({ width: 16, height: 16 })]);
  t.equal(post.status, "published", "the rest works");
  t.equal((await ana.request("GET", "/users/ana/posts")).body.items[0].id, post.id);

  const doctor = await run(["doctor", "--json"], lean.env);
  t.equal(doctor.code, 0);
  const [, features] = JSON.parse(doctor.stdout).checks;
  t.match(features, { name: "features", message: /off: stories, feed/ });
});

t.test("a story is published, though the worker that has its picture in hand knows of none", async (t) => {
  const { client, env, databaseUrl, server } = await startService(t, { TINTYPE_FEATURES: CORE });
  const knowing = await startServer({ ...env, TINTYPE_FEATURES: `${CORE},stories`, TINTYPE_WORKER_EMBEDDED: "false" });
  t.teardown(() => knowing.stop());
  const ana = await knowing.client.register("ana");
  t.equal((await client.as(ana.token).request("GET", "/users/ana/stories")).body.error.code, "ROUTE_NOT_FOUND");
  const photo = await picture({ width: 16, height: 16 });
  const ids = [await postStory(ana, photo), await postStory(ana, photo)];
  await waitFor(async () => {
    const { rowCount } = await query(databaseUrl, "SELECT FROM media WHERE state = 'processing'");
    return rowCount === 0;
  }, "both pictures to be processed");
  // As if the second could not be decoded, which is tried for seconds.
  await query(
    databaseUrl,
    `UPDATE media SET state = 'failed', failure_code = 'PICTURE_UNREADABLE', failure_message = 'The picture is damaged.'
     FROM stories WHERE medium_id = media.id AND stories.id = '${ids[1]}'`,
  );
  for (const id of ids) t.equal((await ana.request("GET", `/stories/${id}`)).body.status, "processing");
  await server.stop();
  const worker = start(["worker"], { ...env, TINTYPE_FEATURES: `${CORE},stories` });
  t.teardown(() => worker.stop());
  // What its schedule does within a minute.
  await query(databaseUrl, "INSERT INTO pgboss.job (name, data) VALUES ('stories.settle', '{}')");
  t.match(await processedStory(ana, ids[0] ?? ""), { status: "published", media: exactly({ width: 16 }) });
  t.match(await processedStory(ana, ids[1] ?? ""), { status: "failed", failure: { code: "PICTURE_UNREADABLE" } });
});

async function query(connectionString: string, text: string): Promise<pg.QueryResult> {
  const connection = new pg.Client({ connectionString });
  await connection.connect();
  try {
    return await connection.query(text);
  } finally {
    await connection.end();
  }
}

t.test("the core is on, whatever is listed", async (t) => {
  for (const [listed, expected] of [
    ["feed", `${CORE},feed`],
    ["accounts", CORE],
    ["feed,accounts,feed", `${CORE},feed`],
  ] as const) {
    const { code, stdout } = await run(["config", "show", "--json"], { TINTYPE_FEATURES: listed });
    t.equal(code, 0);
    const features = JSON.parse(stdout).settings.find((setting: { name: string }) => setting.name === "features");
    t.strictSame(String(features.value).split(/, ?/).sort(), expected.split(",").sort(), listed);
  }
});

t.test("nothing that lies in the data dir is run as a part of the program", async (t) => {
  const folder = await temporaryFolder(t);
  const guest = join(folder, "guest");
  await mkdir(guest);
  const files = {
    [join(folder, "package.json")]: JSON.stringify({
      oclif: { plugins: [{ name: "guest", type: "link", root: guest }] },
    }),
    [join(guest, "package.json")]: JSON.stringify({
      name: "guest",
      version: "1.0.0",
      oclif: { hooks: { init: "./hook.js" } },
    }),
    [join(guest, "hook.js")]: "module.exports = async () => console.log('the guest was here');",
  };
  for (const [path, text] of Object.entries(files)) await writeFile(path, text);
  // oclif would take the folder for its own, by the name of this variable.
  const { code, stdout, stderr } = await run(["config", "check", "--json"], { TINTYPE_DATA_DIR: folder });
  t.equal(code, 0);
  t.match(JSON.parse(stdout), { ok: true });
  t.notMatch(stdout + stderr, /guest/);
});
