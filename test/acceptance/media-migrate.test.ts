import { mkdir, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { objectsOf, tintype } from "../support/backup.ts";
import { postForm } from "../support/client.ts";
import { testDatabase } from "../support/database.ts";
import { exactly } from "../support/exactly.ts";
import { picture } from "../support/pictures.ts";
import { run, type Server, start, startServer, temporaryFolder, waitFor } from "../support/server.ts";
import { processed, publish } from "../support/service.ts";
import { s3Service } from "../support/services.ts";

t.test("media move from files to S3 and back, while serving", async (t) => {
  const s3 = await s3Service(t);
  if (!s3) return;
  const { url } = await testDatabase(t);
  const dataDir = await temporaryFolder(t);
  const files = { TINTYPE_DATABASE_URL: url, TINTYPE_DATA_DIR: dataDir, TINTYPE_WORKER_EMBEDDED: "true" };
  const both = {
    ...files,
    TINTYPE_S3_ENDPOINT: s3.endpoint,
    TINTYPE_S3_ACCESS_KEY: s3.accessKey,
    TINTYPE_S3_SECRET_KEY: s3.secretKey,
    TINTYPE_S3_REGION: s3.region,
    TINTYPE_S3_BUCKET: s3.bucket,
  };
  const moving = { ...both, TINTYPE_MEDIA_STORE: "s3", TINTYPE_MEDIA_MIGRATE_FROM: "filesystem" };
  const back = { ...both, TINTYPE_MEDIA_STORE: "filesystem", TINTYPE_MEDIA_MIGRATE_FROM: "s3" };
  let server: Server | undefined;
  const serve = async (env: Record<string, string>) => {
    await server?.stop();
    server = await startServer(env);
    return server.client;
  };
  t.teardown(() => server?.stop());
  const migrate = (env: Record<string, string>, from: string, to: string, expected = 0, ...more: string[]) =>
    tintype(["media", "migrate", "--from", from, "--to", to, ...more], env, expected);
  const verified = async (env: Record<string, string>) =>
    tintype(["media", "verify", "--older-than", "0s", "--all-hashes"], env);
  const photo = await picture({ width: 300, height: 200 });

  const ana = await (await serve(files)).register("ana");
  const posts = [await publish(ana, [photo, photo]), await publish(ana, [photo]), await publish(ana, [photo])];
  const [kept, gone, cut] = posts.map((post) => post.media[0].id);
  await tintype(["migrate"], both);
  const { error } = await migrate(files, "filesystem", "s3", 3);
  t.match(error.hint, "TINTYPE_MEDIA_MIGRATE_FROM=filesystem");

  const client = await serve(moving);
  const me = client.as(ana.token);
  t.equal((await client.request("GET", `/media/${kept}/large.webp`)).status, 200, "read from the files");
  const uploaded = await me.request("POST", "/posts", { form: postForm([photo]) });
  const next = await processed(me, uploaded.body.post_id);
  const before = await objectsOf(dataDir);
  t.equal(Object.keys(before).length, 20, "what is new goes to S3");
  t.equal((await client.request("GET", `/media/${next.media[0].id}/large.webp`)).status, 200);
  t.match(await verified(moving), { ok: true, found: 25 });

  const elsewhere = { ...moving, TINTYPE_DATA_DIR: await temporaryFolder(t) };
  const absent = await migrate(elsewhere, "filesystem", "s3", 3);
  t.match(absent.error.hint, "TINTYPE_DATA_DIR");
  t.same(await readdir(elsewhere.TINTYPE_DATA_DIR), [], "the old store is not made");
  await mkdir(join(elsewhere.TINTYPE_DATA_DIR, "media"));
  await writeFile(join(elsewhere.TINTYPE_DATA_DIR, "media", "tintype-store.txt"), "");
  const empty = await migrate(elsewhere, "filesystem", "s3", 1);
  t.match(empty, { copied: 0, there: 0, missing: 20 });
  t.same(empty.keys.missing.toSorted(), Object.keys(before).toSorted());

  const damaged = `originals/${cut.slice(-2)}/${cut}`;
  await truncate(join(dataDir, "media", damaged), 100);
  // Killed in the middle of it, or at its end: whatever it had come to.
  const victim = start(["media", "migrate", "--from", "filesystem", "--to", "s3"], moving);
  await waitFor(async () => /objects: [1-9]/.test(victim.output()) || victim.process.exitCode !== null, "it to begin");
  await victim.kill();
  t.equal((await me.request("DELETE", `/posts/${posts[1].id}`)).status, 204, "deleted meanwhile");
  await waitFor(
    async () => !Object.keys(await objectsOf(dataDir)).some((key) => key.includes(gone)),
    "its objects to go",
  );

  const report = await migrate(moving, "filesystem", "s3", 1, "--verify");
  t.match(report, {
    damaged: 1,
    missing: 1,
    keys: { damaged: exactly(damaged), unreadable: exactly(), missing: exactly(damaged) },
  });
  t.equal(report.copied + report.there, 14);
  const { stderr } = await run(["media", "migrate", "--from", "filesystem", "--to", "s3", "--verify"], moving);
  t.match(stderr, damaged);
  t.equal((await me.request("DELETE", `/posts/${posts[2].id}`)).status, 204);
  await waitFor(async () => Object.keys(await objectsOf(dataDir)).length === 10, "the damaged to go");
  t.match(await migrate(moving, "filesystem", "s3"), { copied: 0, there: 10, damaged: 0, gone: 0, missing: 0 });

  const alone = { ...both };
  await rm(join(dataDir, "media"), { recursive: true });
  await rm(join(dataDir, "media.made"));
  const onS3 = await serve(alone);
  t.match(await verified(alone), { ok: true, found: 15 }, "all of it is in S3");
  t.equal((await onS3.request("GET", `/media/${kept}/large.webp`)).status, 200);

  await serve(back);
  t.match(await migrate(back, "s3", "filesystem"), { copied: 15, there: 0 });
  const again = await serve(files);
  t.match(await verified(files), { ok: true, found: 15 });
  const after = await objectsOf(dataDir);
  for (const key of Object.keys(before).filter((name) => name.includes(kept))) t.equal(after[key], before[key], key);
  t.equal((await again.request("GET", `/media/${kept}/large.webp`)).status, 200);
});

t.test("wrong usage", async (t) => {
  const env = { TINTYPE_DATA_DIR: await temporaryFolder(t), TINTYPE_DATABASE_URL: "postgres://127.0.0.1:1/none" };
  const refused = async (expected: number, line: string, settings: Record<string, string> = {}) => {
    const { error } = await tintype(["media", ...line.split(" ")], { ...env, ...settings }, expected);
    t.match(error.message, expected === 2 ? /flag to|same store/ : /media\.migrate_from/, line);
  };
  await Promise.all([
    refused(2, "migrate --from s3"),
    refused(2, "migrate --from s3 --to s3"),
    refused(3, "usage", { TINTYPE_MEDIA_STORE: "s3" }),
    refused(3, "usage", { TINTYPE_MEDIA_MIGRATE_FROM: "filesystem" }),
  ]);
});
