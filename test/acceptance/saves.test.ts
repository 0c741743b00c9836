import pg from "pg";
import t from "tap";
import type { Json, SignedIn } from "../support/client.ts";
import { picture } from "../support/pictures.ts";
import { publish, startService } from "../support/service.ts";

const { client, databaseUrl } = await startService(t);
const sql = new pg.Pool({ connectionString: databaseUrl, max: 1 });
t.teardown(() => sql.end());
const [ana, ben] = (await Promise.all(["ana", "ben"].map((name) => client.register(name)))) as [SignedIn, SignedIn];
const photo = await picture({ width: 32, height: 24 });
const posts: string[] = [];
for (let n = 0; n < 4; n++) posts.push((await publish(ana, [photo])).id);
const [first, second, third, fourth] = posts as [string, string, string, string];

const save = (id: string, collection?: string) =>
  ben.request("POST", `/posts/${id}/save`, collection === undefined ? {} : { json: { collection } });
const unsave = (id: string, collection?: string) =>
  ben.request(
    "DELETE",
    `/posts/${id}/save${collection === undefined ? "" : `?collection=${encodeURIComponent(collection)}`}`,
  );
const saved = async (query = "", who = ben) =>
  (await who.request("GET", `/me/saved${query}`)).body.items.map(({ id }: Json) => id);
const collections = async () =>
  (await ben.request("GET", "/me/collections")).body.items.map(({ name, post_count }: Json) => [name, post_count]);

t.test("saving, once and again, for oneself only", async (t) => {
  for (const id of [second, first, third, first]) t.strictSame((await save(id)).body, { saved: true });
  t.strictSame(await saved(), [third, first, second], "the latest saved first; saving again changes nothing");
  t.strictSame(await saved("", ana), []);
  const shown = async (who: SignedIn) => (await who.request("GET", `/posts/${first}`)).body.saved_by_me;
  t.strictSame([await shown(ben), await shown(ana)], [true, false]);
  for (let times = 0; times < 2; times++) t.strictSame((await unsave(first)).body, { saved: false });
  t.strictSame(await saved(), [third, second]);
  const { body } = await ben.request("GET", "/me/saved?limit=1");
  t.strictSame(await saved(`?limit=1&cursor=${body.next_cursor}`), [second]);
});

t.test("what one may not see any more is not shown, and is back when one may", async (t) => {
  await ana.request("POST", "/users/ben/block");
  t.strictSame(await saved(), []);
  t.equal((await save(first)).status, 404);
  t.equal((await unsave(second)).status, 404);
  await ana.request("DELETE", "/users/ben/block");
  t.strictSame(await saved(), [third, second]);
});

t.test("collections by name", async (t) => {
  t.strictSame((await save(first, "  Žluté Kotě ")).body, { saved: true });
  await save(second, "žluté kotě".normalize("NFD"));
  await save(third, "ŽLUTÉ KOTĚ");
  await save(third, "Other");
  t.strictSame(
    await collections(),
    [
      ["Other", 1],
      ["Žluté Kotě", 3],
    ],
    "one, in whatever way it is written",
  );
  const query = `?collection=${encodeURIComponent("žluté kotě")}`;
  t.strictSame(await saved(query), [third, second, first]);
  t.strictSame(await saved(), [first, third, second]);
  t.strictSame((await unsave(second, "žluté kotě")).body, { saved: true }, "it stays saved");
  t.strictSame((await unsave(fourth, "Other")).body, { saved: false });
  t.strictSame(await saved(query), [third, first]);
  await unsave(third);
  t.strictSame(
    await collections(),
    [
      ["Other", 0],
      ["Žluté Kotě", 1],
    ],
    "unsaved is out of all of them",
  );

  const rename = (from: string, to: string) =>
    ben.request("PATCH", `/me/collections/${encodeURIComponent(from)}`, { json: { name: to } });
  t.match((await rename("OTHER", "žluté KOTĚ")).body, { error: { code: "COLLECTION_NAME_TAKEN" } });
  t.match((await rename("other", "OTHER")).body, { name: "OTHER", post_count: 0 }, "another case of its own");
  t.match((await rename("other", "Cats / 猫 🐈")).body, { name: "Cats / 猫 🐈" });
  t.match((await rename("other", "x")).body, { error: { code: "COLLECTION_NOT_FOUND" } });
  for (const wrong of ["", "  ", "x".repeat(61), "a\nb", "a\0b"]) {
    t.equal((await rename("cats / 猫 🐈", wrong)).status, 422, JSON.stringify(wrong));
    t.equal((await save(first, wrong)).status, 422, JSON.stringify(wrong));
  }
  t.equal((await rename("cats / 猫 🐈", "🐈".repeat(60))).status, 200);
  t.equal((await ana.request("GET", `/me/saved${query}`)).body.error.code, "COLLECTION_NOT_FOUND");

  const remove = () => ben.request("DELETE", `/me/collections/${encodeURIComponent("žluté kotě")}`);
  t.strictSame([(await remove()).status, (await remove()).status], [204, 404]);
  t.strictSame(await saved(), [first, second], "what was in it stays saved");
});

t.test("the number of a collection's posts does not tell a block from a deletion", async (t) => {
  const cleo = await client.register("cleo");
  const { id: deleted } = await publish(ana, [photo]);
  const { id: hidden } = await publish(cleo, [photo]);
  for (const id of [first, deleted, hidden]) await save(id, "counted");
  const count = async () => {
    const { body } = await ben.request("PATCH", "/me/collections/counted", { json: { name: "counted" } });
    return [(await collections())[0], body.post_count];
  };
  t.strictSame(await count(), [["counted", 3], 3]);
  await ana.request("DELETE", `/posts/${deleted}`);
  t.strictSame(await count(), [["counted", 2], 2]);
  await cleo.request("POST", "/users/ben/block");
  t.strictSame(await count(), [["counted", 1], 1]);
  t.strictSame(await saved("?collection=counted"), [first]);
  await cleo.request("DELETE", "/users/ben/block");
  t.strictSame(await count(), [["counted", 2], 2]);
});

t.test("a page looks at a bounded number of posts, and the next goes on behind them", async (t) => {
  const dora = await client.register("dora");
  const { id } = await publish(dora, [photo]);
  await save(id, "long");
  // More than a page looks at, all later and of somebody who hides them.
  await sql.query(
    `WITH author AS (
       INSERT INTO users (id, username, email, password_hash, is_private)
       VALUES (gen_random_uuid(), 'hidden', 'hidden@example.org', '', true) RETURNING id
     ), made AS (
       INSERT INTO posts (id, user_id, status, published_at)
       SELECT gen_random_uuid(), author.id, 'published', now() FROM author, generate_series(1, 600) RETURNING id
     ), saved AS (
       INSERT INTO saves (user_id, post_id, created_at)
       SELECT $1, id, now() + interval '1 minute' FROM made RETURNING user_id, post_id, created_at
     )
     INSERT INTO collection_posts (collection_id, user_id, post_id, created_at)
     SELECT collections.id, saved.user_id, post_id, saved.created_at
     FROM saved JOIN collections ON collections.user_id = saved.user_id AND folded = 'long'`,
    [ben.id],
  );
  for (const query of ["?", "?collection=long&"]) {
    const { body } = await ben.request("GET", `/me/saved${query}limit=1`);
    t.strictSame(body.items, []);
    t.type(body.next_cursor, "string");
    t.strictSame(await saved(`${query}limit=1&cursor=${body.next_cursor}`), [id]);
  }
  t.strictSame((await collections())[0], ["long", 0], "of the latest, which is all that is counted");
});

t.test("one collection is made by many at once, and there is an end to them", async (t) => {
  await Promise.all([first, second, third, fourth].map((id) => save(id, "at once")));
  t.strictSame((await collections())[0], ["at once", 4]);
  let answer = await save(first, "one more 0");
  for (let n = 1; answer.status === 200; n++) answer = await save(first, `one more ${n}`);
  t.match(answer.body, { error: { code: "TOO_MANY_COLLECTIONS" } });
  t.equal((await save(fourth, "AT ONCE")).status, 200, "those that are there take more");
});
