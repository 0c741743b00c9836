import t from "tap";
import { brake, tintype } from "../support/backup.ts";
import { postForm } from "../support/client.ts";
import { startKilling } from "../support/kills.ts";
import { startServer, waitFor } from "../support/server.ts";

// Dozens of processes are started and killed.
t.setTimeout(1_200_000);

const { assertNothingLeft, client, databaseUrl, env, keys, missed, photo, publishAll, sql, startWorker } =
  await startKilling(t);
const kept = (await keys()).length;
t.equal(kept, 10);

t.test("workers killed at moments that nobody chose", async (t) => {
  const seed = Number(process.env.TINTYPE_TEST_SEED ?? Date.now() % 100_000);
  t.comment(`TINTYPE_TEST_SEED=${seed}`);
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const dan = await client.register("dan");
  const posts = await publishAll(t, dan, 6);
  for (const post of posts.slice(0, 3)) t.equal((await dan.request("DELETE", `/posts/${post}`)).status, 204);
  t.equal((await dan.request("DELETE", "/me", { json: { password: dan.password } })).status, 202);
  const left = async () => (await sql.query("SELECT FROM media WHERE owner_id = $1", [dan.id])).rowCount ?? 0;
  const states: number[] = [];
  for (let kill = 0; kill < 6; kill++) {
    const worker = startWorker(t);
    await waitFor(async () => /"msg":"taking jobs"/.test(worker.output()) || (await left()) === 0, "it");
    await new Promise((resolve) => setTimeout(resolve, random() * 400));
    await worker.kill();
    await missed();
    states.push(await left());
  }
  t.comment(`media that were left at each kill: ${states.join(", ")}`);
  await assertNothingLeft(t);
  t.equal((await keys()).length, kept);
});

t.test("an upload that is killed between its original and its row", async (t) => {
  const eve = await client.register("eve");
  const victim = await startServer(env);
  t.teardown(() => victim.kill());
  const held = await brake(t, databaseUrl, "media", "SHARE");
  const upload = victim.client.as(eve.token).request("POST", "/posts", { form: postForm([photo]) });
  upload.catch(() => undefined);
  await waitFor(() => held.waiting(), "the row to wait");
  await victim.kill();
  await t.rejects(upload);
  await held.release();
  t.equal((await keys()).length, kept + 1, "the original is there");
  t.equal((await tintype(["media", "verify", "--older-than", "0s"], env)).ok, true, "and the sweeper's");
  await sql.query("UPDATE pending_originals SET created_at = created_at - interval '2 hours'");
  const worker = startWorker(t);
  await waitFor(async () => {
    await sql.query("INSERT INTO pgboss.job (name, data) VALUES ('media.sweep', '{}')");
    return (await sql.query("SELECT FROM pending_originals")).rowCount === 0;
  }, "the sweep");
  await worker.stop();
  await assertNothingLeft(t);
  t.equal((await keys()).length, kept);
});
