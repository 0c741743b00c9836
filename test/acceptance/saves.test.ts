import t from "tap";
import type { Json, SignedIn } from "../support/client.ts";
import { picture } from "../support/pictures.ts";
import { publish, startService } from "../support/service.ts";

const { client } = await startService(t);
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

t.test("one collection is made by many at once, and there is an end to them", async (t) => {
  await Promise.all([first, second, third, fourth].map((id) => save(id, "at once")));
  t.strictSame((await collections())[0], ["at once", 4]);
  let answer = await save(first, "one more 0");
  for (let n = 1; answer.status === 200; n++) answer = await save(first, `one more ${n}`);
  t.match(answer.body, { error: { code: "TOO_MANY_COLLECTIONS" } });
  t.equal((await save(fourth, "AT ONCE")).status, 200, "those that are there take more");
});
