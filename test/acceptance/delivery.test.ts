import { chmod } from "node:fs/promises";
import pg from "pg";
import t, { type Test } from "tap";
import { s3Environment } from "../support/bucket.ts";
import { createClient, type Json, type SignedIn } from "../support/client.ts";
import { testDatabase } from "../support/database.ts";
import { picture } from "../support/pictures.ts";
import { run, startServer, temporaryFolder } from "../support/server.ts";
import { publish, type Service, startService } from "../support/service.ts";
import { nginxService, s3Service } from "../support/services.ts";
import { publishStory } from "../support/stories.ts";

t.jobs = 3;

const photo = await picture({ width: 900, height: 700 });

/** A public and a private account, each with a post, and a viewer who follows both. */
async function people({ client }: Pick<Service, "client">) {
  const [open, shy, viewer] = [
    await client.register("open"),
    await client.register("shy"),
    await client.register("viewer"),
  ];
  await shy.request("PATCH", "/me", { json: { is_private: true } });
  for (const name of ["open", "shy"]) await viewer.request("POST", `/users/${name}/follow`);
  await shy.request("POST", "/follow-requests/viewer/approve");
  const posts = [await publish(open, [photo]), await publish(shy, [photo])];
  const [openUrl, shyUrl] = await Promise.all(posts.map(({ id }) => largeOf(viewer, id)));
  return { open, shy, viewer, openUrl: String(openUrl), shyUrl: String(shyUrl) };
}

async function largeOf(viewer: SignedIn, postId: string): Promise<string> {
  return (await viewer.request("GET", `/posts/${postId}`)).body.media[0].large_url;
}

const get = (url: string, headers: Record<string, string> = {}, method = "GET") =>
  fetch(url, { method, headers, redirect: "manual" });

const isWebp = async (answer: Response) => Buffer.from(await answer.arrayBuffer()).toString("latin1", 8, 12) === "WEBP";

t.test("redirected to the S3 store, by an address that is good for a minute", async (t) => {
  const s3 = await s3Service(t);
  if (!s3) return;
  const { url } = await testDatabase(t);
  const env = {
    TINTYPE_DATABASE_URL: url,
    TINTYPE_DATA_DIR: await temporaryFolder(t),
    TINTYPE_WORKER_EMBEDDED: "true",
    TINTYPE_DELIVERY_BY: "redirect",
    ...s3Environment(s3),
  };
  t.equal((await run(["migrate"], env)).code, 0);
  const server = await startServer(env);
  t.teardown(() => server.stop());
  const { openUrl, shyUrl, viewer } = await people(server);

  for (const [url, scope] of [
    [openUrl, "public"],
    [shyUrl, "private"],
  ] as const) {
    const redirect = await get(url);
    t.equal(redirect.status, 302);
    t.equal(redirect.headers.get("cache-control"), `${scope}, max-age=30`);
    const address = new URL(redirect.headers.get("location") ?? "");
    t.equal(address.origin, s3.endpoint);
    t.equal(address.searchParams.get("X-Amz-Expires"), "60");
    const object = await get(address.href);
    t.match(
      { status: object.status, type: object.headers.get("content-type"), cache: object.headers.get("cache-control") },
      { status: 200, type: "image/webp", cache: `${scope}, max-age=60` },
    );
    t.ok(await isWebp(object));
    t.equal((await get(address.href, { range: "bytes=0-9" })).status, 206);
    address.searchParams.set("X-Amz-Expires", "6000");
    t.equal((await get(address.href)).status, 403, "it cannot be made to last longer");
    const head = await get(url, {}, "HEAD");
    t.equal(head.status, 302);
    t.equal((await get(head.headers.get("location") ?? "", {}, "HEAD")).status, 200);
  }
  t.equal((await get(shyUrl.replace(/\?.*/, ""))).status, 404, "no ticket, no address");
  await viewer.request("DELETE", "/users/shy/follow");
  t.equal((await get(shyUrl)).status, 404, "who may not see it any more gets none");
});

t.test("an address in the store, and what is fetched there, is over before the story is", async (t) => {
  const s3 = await s3Service(t);
  if (!s3) return;
  const { url } = await testDatabase(t);
  const env = {
    TINTYPE_DATABASE_URL: url,
    TINTYPE_DATA_DIR: await temporaryFolder(t),
    TINTYPE_WORKER_EMBEDDED: "true",
    TINTYPE_DELIVERY_BY: "redirect",
    ...s3Environment(s3),
  };
  t.equal((await run(["migrate"], env)).code, 0);
  const server = await startServer(env);
  t.teardown(() => server.stop());
  // Its clock is as wrong as the store lets pass, and no address of it may be.
  const ahead = await startServer({ ...env, TINTYPE_WORKER_EMBEDDED: "false" }, { ahead: 600_000 });
  t.teardown(() => ahead.stop());
  const sql = new pg.Pool({ connectionString: url, max: 1 });
  t.teardown(() => sql.end());
  const ana = await server.client.register("ana");
  const story = await publishStory(ana, photo);
  const picture = (at: { url: string }) => get(story.media[0].large_url.replace(server.url, at.url));
  const maxAge = ({ headers }: Response) =>
    Number(/^private, max-age=(\d+)$/.exec(headers.get("cache-control") ?? "")?.[1]);
  const endIn = async (seconds: number): Promise<number> => {
    const { rows } = await sql.query(
      "UPDATE stories SET expires_at = clock_timestamp() + $1 * interval '1 s' RETURNING expires_at",
      [seconds],
    );
    return rows[0].expires_at.getTime();
  };
  for (const [rest, longest] of [
    [3_600, 60],
    [90, 45],
    [30, 15],
  ] as const) {
    const end = await endIn(rest);
    for (const at of [server, ahead]) {
      const redirect = await picture(at);
      t.equal(redirect.status, 302);
      const address = new URL(redirect.headers.get("location") ?? "");
      const lives = Number(address.searchParams.get("X-Amz-Expires"));
      const [, day = "", time = ""] = /^(\d{8})T(\d{6})Z$/.exec(address.searchParams.get("X-Amz-Date") ?? "") ?? [];
      const begins = Date.parse(`${day.replace(/(..)(..)$/, "-$1-$2")}T${time.replace(/(..)(..)(..)/, "$1:$2:$3")}Z`);
      const object = await get(address.href);
      t.ok(await isWebp(object), `${rest} s before its end`);
      t.ok(lives <= longest && maxAge(redirect) <= lives / 2, `good for ${lives} s`);
      t.ok(begins + lives * 1_000 + maxAge(object) * 1_000 <= end, "also what was fetched with the last of it");
    }
  }
  await endIn(3);
  for (let over = false; !over; ) {
    const answer = await picture(ahead);
    over = answer.status === 404;
    if (over) continue;
    t.equal(answer.status, 200, "too short for an address");
    t.ok(maxAge(answer) <= 3);
    t.ok(await isWebp(answer));
  }
  const { rows } = await sql.query("SELECT expires_at <= clock_timestamp() AS over FROM stories");
  t.ok(rows[0].over);
});

t.test("a CDN has the pictures of public accounts, and no others", async (t) => {
  const service = await startService(t, { TINTYPE_MEDIA_PUBLIC_BASE_URL: "https://cdn.example.com/photos/" });
  const { openUrl, shyUrl } = await people(service);
  t.match(openUrl, /^https:\/\/cdn\.example\.com\/photos\/media\/[0-9a-f-]{36}\/large\.webp$/);
  t.ok(shyUrl.startsWith(`${service.server.url}/media/`) && /\?t=/.test(shyUrl));
  const origin = await get(openUrl.replace("https://cdn.example.com/photos", service.server.url));
  t.match(
    { status: origin.status, cache: origin.headers.get("cache-control") },
    { status: 200, cache: "public, max-age=60" },
  );
});

/** An nginx that lets the server decide and sends the bytes itself. @param media what its internal location does. */
async function behindNginx(t: Test, { url }: { url: string }, media: string) {
  return nginxService(
    t,
    (port) => `server {
      listen 127.0.0.1:${port};
      location / { proxy_pass ${url}; proxy_set_header Host $http_host; }
      location /tintype-media/ {
        internal;
        add_header Cross-Origin-Resource-Policy cross-origin;
        ${media}
      }
    }`,
  );
}

async function sentByNginx(t: Test, origin: string, nginx: string, { openUrl, shyUrl, viewer }: Json): Promise<void> {
  for (const [url, scope] of [
    [openUrl, "public"],
    [shyUrl, "private"],
  ] as const) {
    const through = url.replace(origin, nginx);
    const answer = await get(through);
    t.match(
      { status: answer.status, type: answer.headers.get("content-type"), cache: answer.headers.get("cache-control") },
      { status: 200, type: "image/webp", cache: `${scope}, max-age=60` },
    );
    t.match(answer.headers.get("server"), /nginx/);
    t.equal(answer.headers.get("cross-origin-resource-policy"), "cross-origin");
    t.notOk(answer.headers.has("x-accel-redirect"));
    t.ok(await isWebp(answer));
    t.equal((await get(through, { range: "bytes=0-9" })).status, 206);
    const etag = answer.headers.get("etag") ?? "";
    t.equal((await get(through, { "if-none-match": etag })).status, 304);
    const direct = (await get(url)).headers.get("x-accel-redirect") ?? "";
    t.match(direct, /^\/tintype-media\//);
    t.equal((await get(`${nginx}${direct}`)).status, 404, "nobody gets there but by way of the server");
  }
  const hidden = shyUrl.replace(origin, nginx);
  t.equal((await get(hidden.replace(/\?.*/, ""))).status, 404);
  await viewer.request("DELETE", "/users/shy/follow");
  t.equal((await get(hidden)).status, 404);
  t.equal((await createClient(nginx).request("GET", "/healthz")).status, 200);
}

t.test("by the nginx in front, from files", async (t) => {
  const service = await startService(t, { TINTYPE_DELIVERY_BY: "accel" });
  const nginx = await behindNginx(t, service.server, `alias ${service.dataDir}/media/;`);
  if (!nginx) return;
  // As an operator would for nginx' own user; this one runs as whoever runs the test.
  await chmod(service.dataDir, 0o755);
  await sentByNginx(t, service.server.url, nginx.url, await people(service));
});

t.test("by the nginx in front, from the S3 store", async (t) => {
  const s3 = await s3Service(t);
  if (!s3) return;
  const { url } = await testDatabase(t);
  const env = {
    TINTYPE_DATABASE_URL: url,
    TINTYPE_DATA_DIR: await temporaryFolder(t),
    TINTYPE_WORKER_EMBEDDED: "true",
    TINTYPE_DELIVERY_BY: "accel",
    ...s3Environment(s3),
  };
  t.equal((await run(["migrate"], env)).code, 0);
  const server = await startServer(env);
  t.teardown(() => server.stop());
  const { host } = new URL(s3.endpoint);
  const nginx = await behindNginx(
    t,
    server,
    `proxy_pass ${s3.endpoint}/;
     proxy_set_header Host ${host};
     proxy_set_header Authorization "";`,
  );
  if (!nginx) return;
  await sentByNginx(t, server.url, nginx.url, await people(server));
});
