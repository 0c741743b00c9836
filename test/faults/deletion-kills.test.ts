import t from "tap";
import { tintype } from "../support/backup.ts";
import { type Step, startKilling } from "../support/kills.ts";
import { waitFor } from "../support/server.ts";
import { postStory } from "../support/stories.ts";

// Dozens of processes are started and killed.
t.setTimeout(1_200_000);

const { assertNothingLeft, client, env, keys, killAt, missed, photo, publishAll, sql, startWorker } =
  await startKilling(t);

const REMOVAL: Step[] = [
  { at: "before the medium is marked", table: "media", mode: "SHARE" },
  { at: "between the mark and the objects", table: "backup_leases" },
  { at: "between the objects and the row", table: "renditions", mode: "SHARE" },
];
const ACCOUNT: Step[] = [
  { at: "before the highlights", table: "highlights" },
  { at: "before the stories", table: "stories" },
  { at: "between the stories and their views", table: "story_views" },
  { at: "before the posts", table: "posts", mode: "SHARE" },
  ...REMOVAL,
  { at: "before the account's row", table: "users", mode: "SHARE" },
];

const kept = (await keys()).length;
t.equal(kept, 10);

t.test("a post's deletion, killed at each step", async (t) => {
  const ana = await client.register("ana");
  const [post] = await publishAll(t, ana, 1);
  t.equal((await ana.request("DELETE", `/posts/${post}`)).status, 204);
  for (const step of REMOVAL) await killAt(t, step);
  await assertNothingLeft(t);
  t.equal((await keys()).length, kept);
});

t.test("an account's deletion, killed at each step", async (t) => {
  const bea = await client.register("bea");
  await postStory(bea, photo);
  t.equal((await bea.request("POST", "/me/highlights", { json: { title: "x" } })).status, 201);
  await publishAll(t, bea, 2);
  t.equal((await bea.request("DELETE", "/me", { json: { password: bea.password } })).status, 202);
  for (const step of ACCOUNT) await killAt(t, step);
  await assertNothingLeft(t);
  t.equal((await sql.query("SELECT FROM users WHERE id = $1", [bea.id])).rowCount, 0);
  t.equal((await keys()).length, kept);
});

t.test("a picture that is deleted while it is made, and made again", async (t) => {
  const cleo = await client.register("cleo");
  const post = await cleo.post([photo]);
  await killAt(t, { at: "between the renditions and their rows", table: "renditions", mode: "SHARE" });
  t.ok((await keys()).length > kept + 1, "renditions lie there without a row");
  t.equal((await cleo.request("DELETE", `/posts/${post}`)).status, 204);
  await assertNothingLeft(t);

  const [again] = await publishAll(t, cleo, 1);
  await tintype(["media", "reprocess", "--user", "cleo"], env);
  await killAt(t, { at: "between the new renditions and their rows", table: "renditions", mode: "SHARE" });
  const worker = startWorker(t);
  await waitFor(async () => (await sql.query("SELECT FROM renditions WHERE version <> ''")).rowCount === 8, "new ones");
  await worker.kill();
  await missed();
  t.ok((await keys()).length >= kept + 2 + 3 * 4, "the old, the killed try's and the new");
  t.equal((await cleo.request("DELETE", `/posts/${again}`)).status, 204);
  await sql.query("UPDATE pgboss.job SET start_after = now() WHERE name = 'media.discard' AND state = 'created'");
  for (const step of REMOVAL.slice(1)) await killAt(t, step);
  await assertNothingLeft(t);
  t.equal((await keys()).length, kept);
});
