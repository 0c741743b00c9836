import t from "tap";
import { inTransaction } from "../../src/db/transaction.ts";
import { testDatabase } from "../../test/support/database.ts";
import { openDb, query } from "../../test/support/product/database.ts";
import { forgetOtherPlaces, forgetUnused, placesOf, rememberPlace, rememberUse } from "./store.ts";
import { subjectOfLogin } from "./subjects.ts";

const { url } = await testDatabase(t);
const db = openDb(t, url);
const ANA = "00000000-0000-7000-8000-000000000001";
const SESSION = "00000000-0000-7000-8000-000000000002";

await query(
  url,
  `INSERT INTO users (id, username, email, password_hash) VALUES ('${ANA}', 'ana', 'ana@example.org', 'none');
   INSERT INTO sessions (id, user_id, token_hash, address) VALUES ('${SESSION}', '${ANA}', '\\x00', '2001:db8:0:7::9')`,
);
const places = async () => (await placesOf(db, ANA)).map(({ address }) => address).sort();
const remember = (place: string) => inTransaction(db, (tx) => rememberPlace(tx, ANA, place));

t.test("whatever spelling Postgres finds an account by, guesses at it are counted together", async (t) => {
  const spellings = await query(
    url,
    "SELECT chr(n) AS one, lower(chr(n)) AS other FROM generate_series(1, 1114111) AS n WHERE n NOT BETWEEN 55296 AND 57343 AND lower(chr(n)) <> chr(n)",
  );
  t.ok(spellings.length > 1_000, `${spellings.length} letters`);
  const apart = spellings.filter(({ one, other }) => subjectOfLogin(`a${one}@b`) !== subjectOfLogin(`a${other}@b`));
  t.same(apart, []);
});

t.test("a use of a session makes its address known, once an hour, as long as the session is there", async (t) => {
  await rememberUse(db, SESSION, "192.0.2.1");
  t.same(await places(), ["192.0.2.1"]);
  const since = async () => (await placesOf(db, ANA))[0]?.last_used_at;
  const first = await since();
  await rememberUse(db, SESSION, "192.0.2.1");
  t.same(await since(), first);
  await query(url, "UPDATE login_addresses SET last_used_at = now() - interval '2 hours'");
  await rememberUse(db, SESSION, "192.0.2.1");
  const again = await since();
  t.ok(first && again && again >= first);
  await rememberUse(db, ANA, "192.0.2.2");
  t.same(await places(), ["192.0.2.1"], "there is no such session");
});

t.test("a changed password leaves the places where sessions that stay began", async (t) => {
  await remember("2001:db8:0:7::/64");
  await remember("192.0.2.3");
  await inTransaction(db, (tx) => forgetOtherPlaces(tx, ANA));
  t.same(await places(), ["2001:db8:0:7::/64"]);
});

t.test("uses of a session displace no place of a sign-in, and are kept as many", async (t) => {
  await remember("192.0.2.6");
  await rememberUse(db, SESSION, "192.0.2.7");
  await remember("192.0.2.7");
  for (let n = 0; n < 60; n++) await rememberUse(db, SESSION, `2001:db8:1:${n}::/64`);
  const kept = await places();
  t.ok(["192.0.2.6", "192.0.2.7", "2001:db8:0:7::/64"].every((place) => kept.includes(place)));
  t.equal(kept.length, 3 + 50);
  await inTransaction(db, (tx) => forgetOtherPlaces(tx, ANA));
});

t.test(
  "a use while the password is being changed waits for nothing, and leaves nothing of an ended session",
  async (t) => {
    await inTransaction(db, async (tx) => {
      await tx.selectFrom("users").select("id").where("id", "=", ANA).forUpdate().execute();
      t.equal(await rememberUse(db, SESSION, "192.0.2.4"), false, "it is to be told again");
      await tx.deleteFrom("sessions").where("id", "=", SESSION).execute();
      t.equal(await rememberUse(db, SESSION, "192.0.2.4"), false);
      await forgetOtherPlaces(tx, ANA);
    });
    t.equal(await rememberUse(db, SESSION, "192.0.2.4"), true);
    t.same(await places(), []);
  },
);

t.test("what nobody has used for long goes, some at a time", async (t) => {
  await remember("192.0.2.5");
  await query(
    url,
    `INSERT INTO login_addresses (user_id, address, signed_in, last_used_at)
     SELECT '${ANA}', 'old ' || n, true, now() - interval '2 days' FROM generate_series(1, 2500) AS n`,
  );
  await t.rejects(forgetUnused(db, 86_400_000, AbortSignal.abort()));
  t.equal(await forgetUnused(db, 86_400_000, new AbortController().signal), 2_500);
  t.same(await places(), ["192.0.2.5"]);
});
