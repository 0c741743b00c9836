import t from "tap";
import type { Answer, Client, Json, SignedIn } from "../support/client.ts";
import { exactly } from "../support/exactly.ts";
import { ask, fetchFiles, place, settled } from "../support/exports.ts";
import { picture } from "../support/pictures.ts";
import { waitFor } from "../support/server.ts";
import { publishStory } from "../support/stories.ts";

const here = await place(t);
const { client, sql } = here;
const photo = await picture({ width: 45, height: 80 });

/** The two lists, each with what its routes say of somebody who is on it. */
const LISTS = [
  { path: "/me/close-friends", table: "close_friends", says: (on: boolean) => ({ close_friend: on }) },
  { path: "/me/story-hides", table: "story_hides", says: (on: boolean) => ({ stories_hidden: on }) },
] as const;

async function people<Names extends readonly string[]>(...names: Names): Promise<{ [Index in keyof Names]: SignedIn }> {
  return (await Promise.all(names.map((name) => client.register(name)))) as { [Index in keyof Names]: SignedIn };
}

const codeOf = ({ status, body }: Answer) => `${status} ${body?.error?.code}`;
const namesOf = async (owner: Client, path: string) =>
  (await owner.request("GET", path)).body.items.map(({ username }: Json) => username);
const trayOf = async (viewer: Client) =>
  (await viewer.request("GET", "/stories/tray")).body.items.map(({ user, count }: Json) => [user.username, count]);

t.test("a list of one's own, which is told nobody", async (t) => {
  const [ana, ben, cleo, dora] = await people("ana", "ben", "cleo", "dora");
  for (const { path, says } of LISTS) {
    for (const name of ["ben", "BEN", "ben"]) {
      const { status, body } = await ana.request("POST", `${path}/${name}`);
      t.strictSame([status, body], [200, says(true)]);
    }
    for (const name of ["cleo", "dora"]) await ana.request("POST", `${path}/${name}`);
    t.strictSame(await namesOf(ana, path), ["dora", "cleo", "ben"], "the latest first");
    const page = (await ana.request("GET", `${path}?limit=2`)).body;
    t.strictSame(
      page.items.map(({ username }: Json) => username),
      ["dora", "cleo"],
    );
    t.strictSame(await namesOf(ana, `${path}?limit=2&cursor=${page.next_cursor}`), ["ben"]);
    t.strictSame((await ana.request("DELETE", `${path}/cleo`)).body, says(false));
    t.strictSame((await ana.request("DELETE", `${path}/cleo`)).body, says(false), "once and again");
    for (const method of ["POST", "DELETE"] as const) {
      t.equal(codeOf(await ana.request(method, `${path}/ana`)), "422 CANNOT_LIST_SELF");
      t.equal(codeOf(await ana.request(method, `${path}/nobody`)), "404 USER_NOT_FOUND");
    }
    t.strictSame(await namesOf(ben, path), [], "it is of the other's and nobody else's");
  }
  for (const person of [ben, cleo, dora]) {
    t.strictSame((await person.request("GET", "/notifications")).body.items, []);
    t.notMatch((await person.request("GET", "/users/ana")).bytes.toString(), /close|hid/);
  }
});

t.test("a block takes close friends away both ways, and lets neither make new ones", async (t) => {
  const [emil, frida] = await people("emil", "frida");
  await emil.request("POST", "/me/close-friends/frida");
  await frida.request("POST", "/me/close-friends/emil");
  await emil.request("POST", "/users/frida/block");
  t.equal(codeOf(await emil.request("POST", "/me/close-friends/frida")), "403 YOU_BLOCK");
  for (const { path } of LISTS) t.equal(codeOf(await frida.request("POST", `${path}/emil`)), "404 USER_NOT_FOUND");
  await emil.request("DELETE", "/users/frida/block");
  for (const person of [emil, frida]) t.strictSame(await namesOf(person, "/me/close-friends"), []);
});

t.test("whatever is done at once ends as one of the two", async (t) => {
  const [gerda, hugo] = await people("gerda", "hugo");
  for (const { path, says, table } of LISTS) {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) => gerda.request(n % 2 ? "POST" : "DELETE", `${path}/hugo`)),
    );
    t.strictSame(
      answers.map(({ body }) => body),
      answers.map((_, n) => says(n % 2 === 1)),
    );
    const listed = await namesOf(gerda, path);
    const { rows } = await sql.query(`SELECT FROM ${table} WHERE owner_id = $1`, [gerda.id]);
    t.equal(listed.length, rows.length);
    await gerda.request("DELETE", `${path}/hugo`);
    t.strictSame(await namesOf(gerda, path), []);
  }
  await Promise.all([hugo.request("POST", "/me/close-friends/gerda"), gerda.request("POST", "/users/hugo/block")]);
  const { rows } = await sql.query("SELECT FROM close_friends WHERE owner_id = $1", [hugo.id]);
  t.equal(rows.length, 0, "whichever came first");
});

t.test("who sees which stories", async (t) => {
  const [ida, jan, karl] = await people("ida", "jan", "karl");
  for (const viewer of [jan, karl]) await viewer.request("POST", "/users/ida/follow");
  const open = await publishStory(ida, photo);
  const close = await publishStory(ida, photo, { audience: "close_friends" });
  const sees = async (viewer: Client, wanted: readonly string[], about: string) => {
    const { status, body } = await viewer.request("GET", "/users/ida/stories");
    t.strictSame(status === 200 ? body.items.map(({ id }: Json) => id) : [], wanted, about);
    for (const { id } of [open, close]) {
      const answer = await viewer.request("GET", `/stories/${id}`);
      if (wanted.includes(id)) t.equal(answer.status, 200);
      else t.equal(codeOf(answer), "404 STORY_NOT_FOUND");
    }
  };
  await sees(ida, [open.id, close.id], "one's own");
  await sees(jan, [open.id], "a follower");
  await ida.request("POST", "/me/close-friends/jan");
  await sees(jan, [open.id, close.id], "a close friend");
  await sees(karl, [open.id], "another");
  t.strictSame([await trayOf(jan), await trayOf(karl)], [[["ida", 2]], [["ida", 1]]]);
  await jan.request("DELETE", "/users/ida/follow");
  await sees(jan, [open.id, close.id], "a close friend need not follow a public account");
  t.strictSame(await trayOf(jan), [], "but only whom one follows is in the tray");
  await ida.request("POST", "/me/story-hides/karl");
  await sees(karl, [], "hidden from");
  await ida.request("DELETE", "/me/story-hides/karl");
  await ida.request("PATCH", "/me", { json: { is_private: true } });
  await sees(karl, [open.id], "a follower of a private account");
  await sees(jan, [], "a close friend who does not follow it");
  await karl.request("DELETE", "/users/ida/follow");
  await sees(karl, [], "who follows it no longer");
});

t.test("they are in the takeout, and go with the account at either end", async (t) => {
  const [lea, max, nora] = await people("lea", "max", "nora");
  for (const { path } of LISTS) {
    for (const other of ["max", "nora"]) await lea.request("POST", `${path}/${other}`);
    await max.request("POST", `${path}/lea`);
  }
  await ask(lea);
  const files = await fetchFiles((await settled(lea)).url);
  for (const [file, time] of [
    ["close_friends.json", "added_at"],
    ["stories_hidden_from.json", "hidden_at"],
  ] as const) {
    const row = (person: SignedIn, username: string) => ({ id: person.id, username, display_name: null, [time]: /Z$/ });
    t.match(JSON.parse(String(files.get(file))), exactly(row(nora, "nora"), row(max, "max")));
  }
  t.equal((await lea.request("DELETE", "/me", { json: { password: lea.password } })).status, 202);
  await waitFor(async () => {
    const { rows } = await sql.query("SELECT FROM users WHERE id = $1", [lea.id]);
    return rows.length === 0;
  }, "the account to be gone");
  for (const { path } of LISTS) t.strictSame(await namesOf(max, path), []);
});
