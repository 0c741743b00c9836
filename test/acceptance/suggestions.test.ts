import { randomUUID } from "node:crypto";
import fc from "fast-check";
import pg from "pg";
import t from "tap";
import { walk } from "../support/pages.ts";
import { startService } from "../support/service.ts";

const service = await startService(t);
const { client } = service;
const database = new pg.Pool({ connectionString: service.databaseUrl, max: 2 });
t.teardown(() => database.end());

t.test("suggestions are what the model says, and tell nothing that is hidden", async (t) => {
  const COUNT = 9;
  const pair = fc.tuple(fc.nat(COUNT - 1), fc.nat(COUNT - 1)).filter(([from, to]) => from !== to);
  const pairs = (maxLength: number) => fc.uniqueArray(pair, { maxLength, selector: ([from, to]) => from * COUNT + to });
  const graph = fc.record({
    follows: pairs(40),
    // Of the viewer, so that there is something to suggest; none in some graphs.
    followed: fc.uniqueArray(fc.integer({ min: 1, max: COUNT - 1 }), { maxLength: 4 }),
    requests: pairs(6),
    blocks: pairs(4),
    mutes: pairs(4),
    hidden: fc.uniqueArray(fc.nat(COUNT - 1)),
    gone: fc.uniqueArray(fc.integer({ min: 1, max: COUNT - 1 }), { maxLength: 2 }),
    limit: fc.integer({ min: 1, max: 5 }),
  });
  let run = 0;
  await fc.assert(
    fc.asyncProperty(graph, async ({ follows: others, followed, requests, blocks, mutes, hidden, gone, limit }) => {
      const follows = [...others.filter(([from]) => from !== 0), ...followed.map((to): [number, number] => [0, to])];
      await database.query("DELETE FROM users");
      const me = await client.register(`me${run++}`);
      const ids = [me.id, ...Array.from({ length: COUNT - 1 }, () => randomUUID())];
      await addWithIds(ids.slice(1));
      const insert = async (table: string, from: string, to: string, rows: Array<[number, number]>) =>
        database.query(`INSERT INTO ${table} (${from}, ${to}) SELECT * FROM unnest($1::uuid[], $2::uuid[])`, [
          rows.map(([a]) => ids[a]),
          rows.map(([, b]) => ids[b]),
        ]);
      await insert("follows", "follower_id", "following_id", follows);
      await insert("follow_requests", "follower_id", "following_id", requests);
      await insert("blocks", "blocker_id", "blocked_id", blocks);
      await insert("mutes", "muter_id", "muted_id", mutes);
      await database.query("UPDATE users SET is_private = true WHERE id = ANY($1)", [hidden.map((i) => ids[i])]);
      await database.query("UPDATE users SET state = 'suspended' WHERE id = ANY($1)", [gone.map((i) => ids[i])]);
      await database.query(
        "UPDATE users SET follower_count = (SELECT count(*) FROM follows WHERE following_id = users.id)",
      );

      const has = (relation: Array<[number, number]>, from: number, to: number) =>
        relation.some(([a, b]) => a === from && b === to);
      const listed = (who: number) => !gone.includes(who) && !has(blocks, 0, who) && !has(blocks, who, 0);
      const seen = (who: number) => listed(who) && (!hidden.includes(who) || who === 0 || has(follows, 0, who));
      const wanted = (who: number) =>
        who !== 0 && listed(who) && !has(follows, 0, who) && !has(requests, 0, who) && !has(mutes, 0, who);
      const between = (who: number) => followed.filter((friend) => seen(friend) && has(follows, friend, who)).length;
      const popularity = (who: number) => follows.filter(([, to]) => to === who).length;
      const everybody = Array.from({ length: COUNT }, (_, who) => who).filter(wanted);
      const some = everybody.filter((who) => between(who) > 0);
      const expected = (some.length > 0 ? some : everybody)
        .map((who) => ({ id: ids[who] ?? "", count: between(who), rank: between(who) || popularity(who) }))
        .sort((a, b) => b.rank - a.rank || (a.id < b.id ? 1 : -1))
        .map(({ id, count }) => ({ id, count }));

      const items = await walk(me, "/me/suggestions", limit);
      t.strictSame(
        items.map((item) => ({ id: item.id, count: item.followed_by_count })),
        expected,
      );
      for (const item of items) {
        const who = ids.indexOf(item.id);
        const { following, requested, followed_by } = item.relationship;
        t.strictSame([following, requested, followed_by], [false, false, has(follows, who, 0)]);
      }
    }),
    { numRuns: 40 },
  );
});

t.test("who follows nobody learns of no follow of a private account", async (t) => {
  await database.query("DELETE FROM users");
  const ids = Array.from({ length: 210 }, () => randomUUID());
  await addWithIds(ids);
  const [known = "", secret = "", shy = "", open = ""] = ids;
  // The first two are older than all that are looked at, so that only a follow leads to them.
  await database.query("UPDATE users SET created_at = now() - interval '1 year' WHERE id = ANY($1)", [[known, secret]]);
  await database.query(
    "UPDATE users SET created_at = now() + interval '1 minute', is_private = (id = $1) WHERE id = ANY($2)",
    [shy, [shy, open]],
  );
  await database.query("INSERT INTO follows (follower_id, following_id) VALUES ($1, $2), ($3, $4)", [
    shy,
    secret,
    open,
    known,
  ]);
  await database.query("UPDATE users SET follower_count = 1 WHERE id = ANY($1)", [[known, secret]]);
  const newcomer = await client.register("newcomer");
  const items = await walk(newcomer, "/me/suggestions", 100);
  const suggested = items.map((item) => item.id);
  t.equal(suggested[0], known, "the most followed first");
  t.notOk(suggested.includes(secret));
  t.ok(suggested.includes(shy), "the private account itself is no secret");
  t.ok(items.every((item) => item.followed_by_count === 0));
});

t.test("a newcomer is shown people however many newer accounts vanished, and so is who follows them", async (t) => {
  await database.query("DELETE FROM users");
  const people = Array.from({ length: 5 }, () => randomUUID());
  const spam = Array.from({ length: 2_100 }, () => randomUUID());
  await addWithIds([...people, ...spam]);
  await database.query(
    "UPDATE users SET state = 'suspended', created_at = now() + interval '1 minute' WHERE id = ANY($1)",
    [spam],
  );
  const newcomer = await client.register("newcomer");
  const suggested = async () => (await walk(newcomer, "/me/suggestions", 2)).map((item) => item.id).sort();
  t.strictSame(await suggested(), people.toSorted());

  const [friend = "", other = ""] = people;
  const follow = async (followers: string[], followed: string[]) =>
    database.query(
      `INSERT INTO follows (follower_id, following_id)
       SELECT follower, followed FROM unnest($1::uuid[]) AS follower, unnest($2::uuid[]) AS followed`,
      [followers, followed],
    );
  await follow([newcomer.id], [friend]);
  const others = people.slice(1).sort();
  t.strictSame(await suggested(), others, "whose only friend follows nobody");
  await follow([friend], spam.slice(0, 100));
  t.strictSame(await suggested(), others, "or none but those who vanished");
  await follow([friend], [other]);
  await follow([newcomer.id], spam.slice(0, 300));
  t.strictSame(await suggested(), [other], "the latest 200 whom one follows are those who are there");
});

async function addWithIds(ids: readonly string[]): Promise<void> {
  await database.query(
    `INSERT INTO users (id, username, email, password_hash)
     SELECT id::uuid, 's' || left(replace(id, '-', ''), 20), id || '@example.org', 'none' FROM unnest($1::text[]) AS id`,
    [ids],
  );
}
