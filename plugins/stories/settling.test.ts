import { sql } from "kysely";
import t from "tap";
import { testDatabase } from "../../test/support/database.ts";
import { openContext } from "../../test/support/product/context.ts";
import { newAccount, uploadStory } from "../../test/support/product/stories.ts";
import { settleLeft } from "./settling.ts";

const { url } = await testDatabase(t);
const context = await openContext(t, url, null);
const { db } = context;
const { signal } = new AbortController();

t.test("a story that cannot be brought in step with its picture is in the way of no other", async (t) => {
  const author = await newAccount(db);
  const stories = [await uploadStory(db, author, "everyone"), await uploadStory(db, author, "everyone")];
  await sql`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no luck'; END $$`.execute(db);
  await sql`CREATE TRIGGER refuse BEFORE UPDATE ON stories FOR EACH ROW
    WHEN (OLD.id = ${sql.lit(stories[0]?.id)}) EXECUTE FUNCTION refuse()`.execute(db);
  const states = async () => {
    const { rows } = await sql<{ status: string }>`SELECT status FROM stories ORDER BY created_at, id`.execute(db);
    return rows.map(({ status }) => status);
  };
  await t.rejects(settleLeft(context, AbortSignal.abort()), { name: "AbortError" });
  t.strictSame(await states(), ["processing", "processing"], "a worker that stops begins none");
  await t.rejects(settleLeft(context, signal), /1 of 2 stories/);
  t.strictSame(await states(), ["processing", "published"]);
  await sql`DROP TRIGGER refuse ON stories`.execute(db);
  t.equal(await settleLeft(context, signal), 1);
  t.strictSame(await states(), ["published", "published"]);
});
