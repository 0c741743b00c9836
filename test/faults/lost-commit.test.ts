import pg from "pg";
import t from "tap";
import { postForm } from "../support/client.ts";
import { testDatabase } from "../support/database.ts";
import { commitLosingWay } from "../support/lost-commit.ts";
import { picture } from "../support/pictures.ts";
import { startServer, temporaryFolder } from "../support/server.ts";
import { processed } from "../support/service.ts";

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
