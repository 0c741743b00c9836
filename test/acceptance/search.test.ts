import { randomUUID } from "node:crypto";
import fc from "fast-check";
import pg from "pg";
import t from "tap";
import type { Client, Json } from "../support/client.ts";
import { walk } from "../support/pages.ts";
import { startService } from "../support/service.ts";

const service = await startService(t);
const { client } = service;
const database = new pg.Pool({ connectionString: service.databaseUrl, max: 2 });
t.teardown(() => database.end());
const viewer = await client.register("viewer");

/** Accounts straight in the database, by user name and display name. */
async function addPeople(people: Readonly<Record<string, string | null>>): Promise<void> {
  await database.query(
    `INSERT INTO users (id, username, display_name, email, password_hash)
     SELECT gen_random_uuid(), username, display_name, username || '@example.org', 'none'
     FROM unnest($1::text[], $2::text[]) AS people (username, display_name)`,
    [Object.keys(people), Object.values(people)],
  );
}

async function find(q: string, by: Client = viewer): Promise<Json[]> {
  const { status, body } = await by.request("GET", `/search/users?limit=100&q=${encodeURIComponent(q)}`);
  if (status !== 200) throw new Error(`${q}: ${status} ${JSON.stringify(body)}`);
  return body.items;
}

const names = (items: readonly Json[]): string[] => items.map((item) => item.username);
const namesFound = async (q: string, by: Client = viewer) => names(await find(q, by));

t.test("the beginning of a name finds it, however it is written", async (t) => {
  await addPeople({
    "zoe.zu": "Zoë Zürich-Straße",
    jose99: "José María  de la Cruz",
    obrien: "Pat O'Brien (they)",
    lodz_1: "Łukasz Æther",
    "finn.f": "ﬁnn",
    wide01: "Ｗｉｄｅ Ⅷ",
    anna_gr: "Άννα Παπάς",
    ivan_ru: "Иван Ёлкин",
    tanaka1: "田中太郎",
    "korea.1": "김 민수",
    smith_jp: "ジョン・スミス",
    "flower.1": "🌸 Hana ❤️",
    "turk.1": "İpek Işık",
    "plain.1": null,
  });
  const expected: Record<string, string[]> = {
    "zoe.zu": ["z", "ZOE", "zoë", "@zoe.z", " @Zoe.Zu ", "zürich", "zurich strasse", "STRASS", "zoe  zürich", "straße"],
    jose99: ["jose9", "José", "MARIA", "maría de", "cruz", "la cruz", "Jose\u0301", "de la"],
    obrien: ["obr", "o'brien", "brien", "O’Brien", "they", "(they)"],
    lodz_1: ["lodz_", "łuk", "lukasz", "æ", "AETH"],
    "finn.f": ["fin", "ﬁn", "FINN"],
    wide01: ["wide", "ｗｉｄｅ", "viii", "ⅷ"],
    anna_gr: ["άννα", "ΑΝΝΑ", "αν", "παπασ", "ΠΑΠΆΣ", "παπάς"],
    ivan_ru: ["иван", "ИВ", "елк", "Ёлкин"],
    tanaka1: ["田", "田中"],
    "korea.1": ["김", "민", "김 민"],
    smith_jp: ["ジョン", "スミス", "ス", "ｽﾐｽ"],
    "flower.1": ["🌸", "hana", "❤", "❤️", "🌸 ha"],
    "turk.1": ["ipek", "İpek", "isik", "IŞIK"],
    "plain.1": ["plain", "Plain.1", "@PLAIN"],
  };
  for (const [username, queries] of Object.entries(expected)) {
    for (const q of queries) t.ok((await namesFound(q)).includes(username), `${JSON.stringify(q)} finds ${username}`);
  }
  for (const q of ["oe.zu", "中", "ミス", "%", "_", "p_ain", "\\", "'", "''; --", "xqzzw", "!?", "💥"]) {
    t.strictSame(await namesFound(q), [], `${JSON.stringify(q)} finds nobody`);
  }
  const [item] = await find("@plain.1");
  t.strictSame(
    { ...item, id: null },
    {
      id: null,
      username: "plain.1",
      display_name: null,
      avatar_url: null,
      relationship: { following: false, requested: false, followed_by: false, blocking: false, muting: false },
    },
  );
});

t.test("a word that is mistyped finds the name too", async (t) => {
  await addPeople({ "michael.k": "Michael Kowalski", catherine: "Catherine Deneuve", johnny_b: "John Berger" });
  const expected: Record<string, string[]> = {
    "michael.k": [
      "micheal",
      "MICAHEL",
      "michaeel",
      "mchael",
      "kowalsky",
      "kovalski",
      "micheal kowalsky",
      "kowalski micheal",
      "micheal kow",
      "kowalsky mich",
      "micheal k",
    ],
    catherine: ["katherine", "catherina", "deneuvee", "caterine"],
    johnny_b: ["jhon", "jonh", "johm", "begrer"],
  };
  for (const [username, queries] of Object.entries(expected)) {
    for (const q of queries) t.strictSame(await namesFound(q), [username], `${q} finds ${username}`);
  }
  for (const q of ["micheal deneuve", "micheal den", "deneuve mich"])
    t.strictSame(await namesFound(q), [], `${q}: every word must fit`);
});

t.test("a name finds itself by any beginning of any of its words", async (t) => {
  const letter = fc.constantFrom(..."abcmzéÉßøÅŁжЖЁσςΩ太郎김ñÑ");
  const word = fc.array(letter, { minLength: 1, maxLength: 7 }).map((letters) => letters.join(""));
  const person = fc.record({
    words: fc.array(word, { minLength: 1, maxLength: 4 }),
    at: fc.nat(),
    length: fc.nat(),
    upper: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(person, async ({ words, at, length, upper }) => {
      const username = `p${randomUUID().replaceAll("-", "").slice(0, 20)}`;
      await addPeople({ [username]: words.join(" ") });
      const chosen = [...(words[at % words.length] ?? "")];
      const q = chosen.slice(0, 1 + (length % chosen.length)).join("");
      const found = await namesFound(upper ? q.toUpperCase() : q);
      await database.query("DELETE FROM users WHERE username = $1", [username]);
      t.ok(found.includes(username), `${q} finds ${words.join(" ")}`);
    }),
    { numRuns: 60 },
  );
});

t.test("any text is answered, and nothing in it is taken for a pattern or a statement", async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: "binary", minLength: 1, maxLength: 40 }), async (q) => {
      const { status, body } = await viewer.request("GET", `/search/users?q=${encodeURIComponent(q)}`);
      if (status !== 422) t.equal(status, 200, JSON.stringify(q));
      else t.match(body.error.code, /^(SEARCH_EMPTY|INVALID_VALUE)$/, JSON.stringify(q));
    }),
    { numRuns: 100 },
  );
});

t.test("the followed come first, then the exact user name, then beginnings, then what is alike", async (t) => {
  await addPeople({
    bruno: "Somebody Else",
    brunolina: null,
    "xx.bruno.1": "Bruno Xavier",
    brunnoo: "Brunnoo Y",
    bruna_far: "Bruna",
    "brun.followed": "Bruno Followed",
    "yy.followed": "Burno Yy",
  });
  for (const name of ["brun.followed", "yy.followed"]) await viewer.request("POST", `/users/${name}/follow`);
  const found = await find("bruno");
  const order = names(found);
  t.strictSame(order.slice(0, 3), ["brun.followed", "yy.followed", "bruno"]);
  t.strictSame(order.slice(3, 5).sort(), ["brunolina", "xx.bruno.1"]);
  t.strictSame(order.slice(5).sort(), ["bruna_far"], "with one letter other, and not two");
  t.strictSame(
    found.map((item) => item.relationship.following),
    order.map((name) => name.endsWith("followed")),
  );
  t.strictSame(await namesFound("bruno"), order, "the same each time");
});

t.test("who is found", async (t) => {
  const others = [
    "hidden.blocked",
    "hidden.blocks",
    "hidden.suspended",
    "hidden.deleting",
    "hidden.private",
    "hidden.muted",
  ];
  const people = new Map(await Promise.all(others.map(async (name) => [name, await client.register(name)] as const)));
  const by = (name: string): Client => people.get(name) ?? client;
  t.strictSame((await namesFound("hidden")).sort(), others.toSorted());

  // Followed before, so that they would come by that way too.
  for (const name of ["hidden.suspended", "hidden.deleting", "hidden.blocks"])
    await viewer.request("POST", `/users/${name}/follow`);
  await viewer.request("POST", "/users/hidden.blocked/block");
  await by("hidden.blocks").request("POST", "/users/viewer/block");
  await by("hidden.private").request("PATCH", "/me", { json: { is_private: true } });
  await viewer.request("POST", "/users/hidden.private/follow");
  await viewer.request("POST", "/users/hidden.muted/mute");
  for (const state of ["suspended", "deleting"]) {
    await database.query("UPDATE users SET state = $1 WHERE username = $2", [state, `hidden.${state}`]);
  }
  for (const q of [
    "hidden",
    "hiddne",
    "hidden.",
    "blocked",
    "suspended",
    "hidden.suspended",
    "hidden.blocks",
    "blocks",
  ]) {
    const left = (await namesFound(q)).filter((name) => !/private|muted/.test(name));
    t.strictSame(left, [], `${q} finds none of those who vanished`);
  }
  const found = await find("hidden");
  t.strictSame(names(found).sort(), ["hidden.muted", "hidden.private"]);
  t.match(found.find((item) => item.username === "hidden.private")?.relationship.following, false);
  t.equal(found.find((item) => item.username === "hidden.muted")?.relationship.muting, true);
  t.notOk(
    (await namesFound("viewer", by("hidden.blocked"))).includes("viewer"),
    "nor does the blocked find the blocker",
  );
  t.ok((await namesFound("viewer")).includes("viewer"), "oneself is found");
  t.equal((await client.request("GET", "/search/users?q=hidden")).status, 401);
});

t.test("pages", async (t) => {
  // All alike, so that little but the id decides.
  await addPeople(
    Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`many${String(i).padStart(2, "0")}`, "Many Ones"])),
  );
  await viewer.request("POST", "/users/many33/follow");
  const all = await namesFound("many");
  t.equal(new Set(all).size, 60);
  t.equal(all[0], "many33");
  for (const limit of [1, 7, 59, 60]) {
    t.strictSame(names(await walk(viewer, "/search/users?q=many", limit)), all, `by ${limit}: none lost, none twice`);
  }
  t.equal((await viewer.request("GET", "/search/users?q=many")).body.items.length, 20, "twenty unless asked otherwise");

  const time = (await viewer.request("GET", "/users/viewer/following?limit=1")).body.next_cursor;
  t.type(time, "string");
  for (const path of ["/search/users?q=many", "/me/suggestions?"]) {
    for (const cursor of ["", "0", "next", "A".repeat(31), "_".repeat(32), time, "%00"]) {
      const { status, body } = await viewer.request("GET", `${path}&cursor=${cursor}`);
      t.equal(status, 400, `${path}&cursor=${cursor}`);
      t.equal(body.error.code, "INVALID_CURSOR");
    }
    for (const limit of ["0", "101", "-1", "x", "1.5"]) {
      t.equal((await viewer.request("GET", `${path}&limit=${limit}`)).status, 400, `${path}&limit=${limit}`);
    }
  }
});

t.test("a search for nothing, or for too much, says what to do", async (t) => {
  t.equal((await viewer.request("GET", "/search/users")).body.error.code, "INVALID_REQUEST");
  for (const q of ["", " ", "@", " @ ", "\t\n", "\u3000", "\u200b", "＠"]) {
    const { status, body } = await viewer.request("GET", `/search/users?q=${encodeURIComponent(q)}`);
    t.equal(status, 422, JSON.stringify(q));
    t.equal(body.error.code, "SEARCH_EMPTY");
    t.match(body.error.message, /Send in q/);
  }
  t.strictSame(await namesFound("🦜".repeat(100)), [], "100 characters, of whatever size");
  t.strictSame(await namesFound("ﷺ".repeat(100)), [], "that fold to many more");
  const { status, body } = await viewer.request("GET", `/search/users?q=${"a".repeat(101)}`);
  t.equal(status, 422);
  t.equal(body.error.code, "SEARCH_TOO_LONG");
});
