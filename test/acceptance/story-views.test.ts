/** Views of stories, who has seen them, and reactions, over HTTP, with a Redis that spares Postgres the repeats. */
import t from "tap";
import type { Client, Json, SignedIn } from "../support/client.ts";
import { picture } from "../support/pictures.ts";
import { startService } from "../support/service.ts";
import { redisService } from "../support/services.ts";
import { publishStory } from "../support/stories.ts";

const redis = await redisService(t);
const { client } = await startService(t, {
  TINTYPE_STORIES_LIFETIME: "1h",
  ...(redis ? { TINTYPE_REDIS_URL: redis.url, TINTYPE_REDIS_KEY_PREFIX: redis.prefix } : {}),
});
const photo = await picture({ width: 36, height: 64 });
const [ana, ben, cleo, dora] = (await Promise.all(
  ["ana", "ben", "cleo", "dora"].map((name) => client.register(name)),
)) as [SignedIn, SignedIn, SignedIn, SignedIn];

async function view(who: Client, id: string, headers: Record<string, string> = {}): Promise<boolean | string> {
  const { status, body } = await who.request("POST", `/stories/${id}/view`, { headers });
  return status === 200 ? body.new_view : `${status} ${body.error.code}`;
}

async function react(who: Client, id: string, emoji: unknown): Promise<string> {
  const { status, body } = await who.request("POST", `/stories/${id}/reaction`, { json: { emoji } });
  return status === 200 ? body.reaction : `${status} ${body.error.code}`;
}

async function viewers(who: Client, id: string, query = ""): Promise<Json> {
  const { status, body } = await who.request("GET", `/stories/${id}/viewers${query}`);
  return status === 200 ? body : `${status} ${body.error.code}`;
}
const names = ({ items }: Json) => items.map(({ user }: Json) => user.username);
const missing = "404 STORY_NOT_FOUND";

t.test("each viewer is new once, and oneself never", async (t) => {
  const { id } = await publishStory(ana, photo);
  t.same([await view(ben, id), await view(ben, id), await view(ben, id.toUpperCase())], [true, false, false]);
  t.equal(await view(ana, id), false);
  const key = { "idempotency-key": "cleo-looks" };
  t.same([await view(cleo, id, key), await view(cleo, id, key), await view(cleo, id)], [true, true, false], "a retry");
  t.same(
    await Promise.all(Array.from({ length: 20 }, () => view(dora, id))).then((all) => all.filter(Boolean)),
    [true],
    "twenty at once",
  );
  t.equal((await ana.request("GET", `/stories/${id}`)).body.view_count, 3);
  t.match((await ben.request("GET", `/stories/${id}`)).body, { seen: true, view_count: null });
  t.same([await view(ben, "nothing"), await view(ben, "01890000-0000-7000-8000-000000000000")], [missing, missing]);

  const { body: first } = await ana.request("GET", `/stories/${id}/viewers?limit=2`);
  t.match(first, { view_count: 3, items: [{ user: { username: "dora" }, viewed_at: /Z$/, reaction: null }, {}] });
  const rest = await viewers(ana, id, `?limit=2&cursor=${first.next_cursor}`);
  t.same([names(first), names(rest), rest.next_cursor], [["dora", "cleo"], ["ben"], null]);
  t.equal(await viewers(ben, id), "403 NOT_YOUR_STORY");

  // So that it lies in Redis if anything does.
  t.equal(await view(ben, id), false);
  await ana.request("POST", "/users/ben/block");
  t.same([await view(ben, id), await react(ben, id, "👍"), await viewers(ben, id)], [missing, missing, missing]);
  const takeBack = { status: 200, body: { reaction: null } };
  t.match(await ben.request("DELETE", `/stories/${id}/reaction`), takeBack, "one's own may always be taken back");
  await cleo.request("POST", "/users/ana/block");
  t.match(await viewers(ana, id), { view_count: 3, items: { length: 1 } }, "without those who block or are blocked");
  await ana.request("DELETE", "/users/ben/block");
  t.same([await view(ben, id), names(await viewers(ana, id))], [false, ["dora", "ben"]]);
  t.equal((await ana.request("DELETE", `/stories/${id}`)).status, 204);
  t.same([await view(dora, id), await viewers(ana, id), await react(dora, id, "👍")], [missing, missing, missing]);
});

t.test("one reaction a viewer, which its author sees", async (t) => {
  const { id } = await publishStory(dora, photo);
  const reactions = async () => (await viewers(dora, id)).items.map(({ reaction }: Json) => reaction);
  t.same([await react(ben, id, "🔥"), await react(ben, id, "👏🏽")], ["🔥", "👏🏽"]);
  t.same([await reactions(), await view(ben, id)], [["👏🏽"], false], "who reacts has seen it");
  const mine = async (who: Client) => (await who.request("GET", `/stories/${id}`)).body.my_reaction;
  t.same([await mine(ben), await mine(cleo), await mine(dora)], ["👏🏽", null, null]);
  t.equal(await react(dora, id, "🔥"), "422 CANNOT_REACT_TO_OWN");
  t.same([await react(ben, id, "hello"), await react(ben, id, "🔥🔥")], Array(2).fill("422 REACTION_INVALID"));
  t.same(
    [await react(ben, id, 1), await react(ben, id, "🔥".repeat(100))],
    ["400 INVALID_REQUEST", "422 INVALID_VALUE"],
  );
  const takeBack = async (who: Client) => {
    const { status, body } = await who.request("DELETE", `/stories/${id}/reaction`);
    return [status, body];
  };
  t.same(await takeBack(ben), [200, { reaction: null }]);
  t.same(await takeBack(ben), [200, { reaction: null }]);
  t.same(await takeBack(cleo), [200, { reaction: null }], "where there is none");
  t.same([await reactions(), (await viewers(dora, id)).view_count], [[null], 1]);
});
