import pg from "pg";
import t from "tap";
import { testDatabase } from "../../test/support/database.ts";
import { openContext } from "../../test/support/product/context.ts";
import { newAccount, startFollow } from "../../test/support/product/stories.ts";
import { writeExpired } from "../../test/support/stories-cleanup.ts";
import { MOST_COUNTED, readTray } from "./tray-store.ts";

const { url } = await testDatabase(t);
const sql = new pg.Pool({ connectionString: url, max: 1 });
t.teardown(() => sql.end());
const context = await openContext(t, url, null);
const { db } = context;

t.test("of an author with more stories than are counted, what the tray says is so of all", async (t) => {
  const [author, viewer] = [await newAccount(db), await newAccount(db)];
  await startFollow(context, viewer, author);
  await writeExpired(sql, { id: author }, MOST_COUNTED + 50);
  // A minute apart; the first is over in 5 minutes, the next in an hour.
  const { rows } = await sql.query<{ id: string; published_at: Date }>(
    `UPDATE stories SET published_at = now() - interval '1 day' + n * interval '1 minute',
       expires_at = now() + CASE n WHEN 1 THEN interval '5 minutes' ELSE interval '1 hour' + n * interval '1 minute' END
     FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM stories) AS numbered WHERE numbered.id = stories.id
     RETURNING stories.id, published_at`,
  );
  rows.sort((one, other) => one.published_at.getTime() - other.published_at.getTime());
  const oldest = rows[0]?.id;
  const see = (ids: (string | undefined)[]) =>
    sql.query("INSERT INTO story_views (story_id, viewer_id) SELECT id, $2 FROM unnest($1::uuid[]) AS id", [
      ids,
      viewer,
    ]);
  const tray = async () => {
    const { entries, over_in } = await readTray(db, viewer);
    t.equal(Date.parse(entries[0]?.latest_story_at ?? ""), rows.at(-1)?.published_at.getTime(), "the latest of all");
    t.equal(entries[0]?.count, MOST_COUNTED);
    return { unseen: entries[0]?.has_unseen, minutes: Math.ceil((over_in ?? 0) / 60_000) };
  };
  t.strictSame(await tray(), { unseen: true, minutes: 5 });
  await see(rows.slice(1).map(({ id }) => id));
  t.strictSame(await tray(), { unseen: true, minutes: 5 }, "the oldest of all is not seen");
  await sql.query("UPDATE stories SET audience = 'close_friends' WHERE id = $1", [oldest]);
  t.strictSame(await tray(), { unseen: false, minutes: 62 }, "it is not for the viewer");
  await sql.query("UPDATE stories SET audience = 'everyone' WHERE id = $1", [oldest]);
  await see([oldest]);
  t.strictSame(await tray(), { unseen: false, minutes: 5 }, "all are seen");
});
