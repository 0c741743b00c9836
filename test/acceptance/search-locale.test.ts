import pg from "pg";
import t from "tap";
import { createClient } from "../support/client.ts";
import { emptyDatabase, testDatabase } from "../support/database.ts";
import { run, startServer, temporaryFolder } from "../support/server.ts";

/** Databases as operators have them: in locales that know no letters but those of ASCII, or other rules for some. */
const LOCALES = {
  C: "TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'",
  Turkish: "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'tr' LOCALE 'C'",
};

const NAMES = [
  "ИВАН Ёлкин",
  "IŞIK İpek",
  "ΠΑΠΆΣ",
  "ÉCOLE\u00a0STRASSE",
  "Ｗｉｄｅ\u3000Ⅷ",
  "ジョン・スミス",
  "O’Brien-Łódź",
];

async function words(url: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ words: string }>(
      "SELECT search_words(name) AS words FROM unnest($1::text[]) WITH ORDINALITY AS names (name, n) ORDER BY n",
      [NAMES],
    );
    return rows.map((row) => row.words);
  } finally {
    await client.end();
  }
}

for (const [locale, options] of Object.entries(LOCALES)) {
  t.test(`names are folded in a database of locale ${locale} as in any other`, async (t) => {
    const { url } = await emptyDatabase(t, options);
    const env = { TINTYPE_DATABASE_URL: url, TINTYPE_DATA_DIR: await temporaryFolder(t) };
    t.match(await run(["migrate"], env), { code: 0 });
    const folded = await words(url);
    t.equal(folded.length, NAMES.length);
    t.strictSame(folded, await words((await testDatabase(t)).url));

    const server = await startServer(env);
    t.teardown(() => server.stop());
    const ivan = await createClient(server.url).register("ivan_ru");
    t.equal((await ivan.request("PATCH", "/me", { json: { display_name: "Иван Igor" } })).status, 200);
    for (const q of ["ИВАН", "иван", "ВИАН", "IGOR", "igor"]) {
      const { body } = await ivan.request("GET", `/search/users?q=${encodeURIComponent(q)}`);
      t.strictSame(
        body.items.map((item: { username: string }) => item.username),
        ["ivan_ru"],
        `${q} finds Иван Igor`,
      );
    }
  });
}

t.test("a database that cannot hold all scripts is refused", async (t) => {
  const { url } = await emptyDatabase(t, "TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C' ENCODING LATIN1");
  const env = { TINTYPE_DATABASE_URL: url, TINTYPE_DATA_DIR: await temporaryFolder(t) };
  const { code, stderr } = await run(["migrate"], env);
  t.equal(code, 1);
  t.match(stderr, /encoded in LATIN1.*createdb -E UTF8 -T template0/s);
});
