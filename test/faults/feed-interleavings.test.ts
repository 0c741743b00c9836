/** What happens just while a timeline, or a row, is being read for Redis: statements and commits are held to see it. */
import t from "tap";
import { gateOf, heldRead } from "../support/feed-model/gate.ts";
import { idsOf, publishBy, rebuildsOf, SERVERS, startScene } from "../support/feed-model/scene.ts";
import { waitFor } from "../support/server.ts";

t.setTimeout(600_000);

t.test("a post that is published while a timeline is built is in it", async (t) => {
  const scene = await startScene(t);
  if (!scene) return;
  const { world, read, change } = scene;
  const { sql } = world;
  await change(0, "mute", "eva");
  const gate = await gateOf(t, world);
  // Reading posts waits in the middle of the statement, which does not see what is committed from then on.
  await sql.query("ALTER TABLE mutes RENAME TO all_mutes");
  await sql.query("CREATE VIEW mutes AS SELECT * FROM all_mutes WHERE wait_at_gate('%published_at%')");
  let id = "";
  await heldRead(scene, gate, async () => {
    ({ id } = await publishBy(world, "ben"));
    await world.jobsDone();
  });
  const before = await rebuildsOf(world);
  await scene.assertRecovered(t, "whole");
  t.equal(idsOf((await read(1)).body)[0], id);
  t.equal(await rebuildsOf(world), before, "what was built is kept");
});

t.test("a timeline that is built while a change is just about to be committed", async (t) => {
  const scene = await startScene(t);
  if (!scene) return;
  const { world, read, change } = scene;
  const gate = await gateOf(t, world);
  for (const table of ["follows", "mutes", "blocks", "posts"]) {
    await world.sql.query(`CREATE CONSTRAINT TRIGGER held AFTER INSERT OR UPDATE OR DELETE ON ${table}
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION commit_at_gate()`);
  }
  const changes: [string, () => Promise<unknown>][] = [
    ["unfollow", () => change(0, "unfollow", "ben")],
    ["follow", () => change(1, "follow", "ben")],
    ["mute", () => change(2, "mute", "cleo")],
    ["unmute", () => change(0, "unmute", "cleo")],
    ["block", () => change(1, "block", "dan")],
  ];
  for (const [name, work] of changes) {
    await gate.close();
    const before = await Promise.all(SERVERS.map((server) => read(server)));
    const working = work();
    await gate.waiting();
    const during = await Promise.all(SERVERS.map((server) => read(server)));
    t.same(
      during.map(({ body }) => idsOf(body)),
      before.map(({ body }) => idsOf(body)),
      `${name} is not yet so`,
    );
    await gate.open();
    await working;
    await scene.assertRight(t, `${name} is so`);
    await scene.assertRecovered(t, name);
  }

  await gate.close();
  const deleting = scene.deletePost(0, "ben");
  await gate.waiting();
  const during = await Promise.all(SERVERS.map((server) => read(server)));
  await gate.open();
  const id = await deleting;
  for (const { body } of during) t.ok(idsOf(body).includes(id), "not yet deleted");
  t.notOk(idsOf((await read(0)).body).includes(id), "at once where it was deleted");
  for (const server of SERVERS) await waitFor(async () => !idsOf((await read(server)).body).includes(id), "the others");
  await scene.assertRecovered(t, "deleted");
});

t.test("FLUSHALL while a row is read that changes: what was is not kept", async (t) => {
  const scene = await startScene(t);
  if (!scene) return;
  const { world, redis, read, change } = scene;
  const gate = await gateOf(t, world);
  await change(0, "unfollow", "ben");
  const { id } = await publishBy(world, "ben");
  await world.sql.query("ALTER TABLE post_media RENAME TO all_post_media");
  await world.sql.query(
    "CREATE VIEW post_media AS SELECT * FROM all_post_media WHERE wait_at_gate('%AS snapshot, id, user_id%')",
  );
  await change(0, "follow", "ben");
  let caption = "";
  await heldRead(scene, gate, async () => {
    caption += "edited";
    const edited = await world.ask("ben", 1, "PATCH", `/posts/${id}`, { json: { caption } });
    t.equal(edited?.status, 200);
    await redis.flushall();
  });
  for (const server of SERVERS) {
    const shown = async () => (await read(server)).body.items[0]?.caption === caption;
    await waitFor(shown, `the caption on server ${server}`);
  }
});
