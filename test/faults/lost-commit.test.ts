import { once } from "node:events";
import { connect, createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import t, { type Test } from "tap";
import { postForm } from "../support/client.ts";
import { testDatabase } from "../support/database.ts";
import { picture } from "../support/pictures.ts";
import { startServer, temporaryFolder } from "../support/server.ts";
import { processed } from "../support/service.ts";

/** A way to Postgres that breaks, once it is armed, behind the first COMMIT of a post: it arrives, and its answer does not. */
async function commitLosingWay(t: Test, target: string) {
  const { hostname, port } = new URL(target);
  let armed = false;
  let lost = 0;
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    let said = "";
    near.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString("latin1")).slice(-20_000);
      far.write(chunk);
      if (!armed || !/insert into "posts"[\s\S]*commit\0/i.test(said)) return;
      armed = false;
      lost += 1;
      near.resetAndDestroy();
      delay(500).then(() => far.destroy());
    });
    far.on("data", (chunk: Buffer) => near.write(chunk));
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on("error", () => undefined).on("close", () => delay(500).then(() => other.destroy()));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const address = server.address();
  const url = new URL(target);
  url.host = `127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
  return {
    url: url.href,
    arm: () => {
      armed = true;
    },
    lost: () => lost,
  };
}

t.test("a commit whose answer is lost: the post is there, and so is its picture", async (t) => {
  const { url } = await testDatabase(t);
  const way = await commitLosingWay(t, url);
  const sql = new pg.Pool({ connectionString: url, max: 1 });
  t.teardown(() => sql.end());
  const server = await startServer({
    TINTYPE_DATABASE_URL: way.url,
    TINTYPE_DATA_DIR: await temporaryFolder(t),
    TINTYPE_WORKER_EMBEDDED: "true",
  });
  t.teardown(() => server.stop());
  const ana = await server.client.register("ana");
  way.arm();
  const { status } = await ana.request("POST", "/posts", {
    form: postForm([await picture({ width: 64, height: 64 })]),
  });
  t.equal(way.lost(), 1, "the answer was lost");
  t.equal(status, 503);
  const { rows } = await sql.query("SELECT id FROM posts");
  t.equal(rows.length, 1, "and the post is there");
  t.equal((await processed(ana, rows[0].id)).status, "published");
});
