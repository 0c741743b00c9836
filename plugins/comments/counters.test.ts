import pg from "pg";
import t from "tap";
import { type Verified, verifyCounters, type WrongCounter } from "../../src/counters.ts";
import { testDatabase } from "../../test/support/database.ts";
import { openDb } from "../../test/support/product/database.ts";
import { commentCounters } from "./counters.ts";

const { url } = await testDatabase(t);
const db = openDb(t, url);
const sql = new pg.Client({ connectionString: url });
await sql.connect();
t.teardown(() => sql.end());

const id = (n: number) => `00000000-0000-7000-8000-00000000000${n}`;
const [POST, EMPTY, GONE] = [id(1), id(2), id(9)];
const [ROOT, REPLY, REMOVED, BELOW] = [id(3), id(4), id(5), id(6)];

// Two comments of one post, of which one is being removed with the reply to it; and one of a post that is gone.
await sql.query(`
  INSERT INTO users (id, username, email, password_hash) VALUES ('${id(7)}', 'ana', 'ana@example.org', 'none');
  INSERT INTO posts (id, user_id, status, published_at)
    SELECT id, '${id(7)}', 'published', now() FROM unnest('{${POST},${EMPTY}}'::uuid[]) AS id;
  INSERT INTO comments (id, post_id, user_id, text, parent_id, removed_at, reply_count, like_count) VALUES
    ('${ROOT}', '${POST}', '${id(7)}', 'root', NULL, NULL, 1, 1),
    ('${REPLY}', '${POST}', '${id(7)}', 'reply', '${ROOT}', NULL, 0, 0),
    ('${REMOVED}', '${POST}', '${id(7)}', 'removed', NULL, now(), 7, 7),
    ('${BELOW}', '${POST}', '${id(7)}', 'below', '${REMOVED}', NULL, 0, 7),
    ('${id(8)}', '${GONE}', '${id(7)}', 'gone', NULL, NULL, 7, 7);
  INSERT INTO comment_likes (user_id, comment_id) VALUES ('${id(7)}', '${ROOT}');
  INSERT INTO comment_counts VALUES ('${POST}', 2), ('${GONE}', 7)`);

async function verify(repair: boolean): Promise<{ verified: Verified[]; found: WrongCounter[] }> {
  const found: WrongCounter[] = [];
  const verified = await verifyCounters(db, commentCounters, {
    repair,
    signal: new AbortController().signal,
    onProgress: () => undefined,
    onWrong: (one) => found.push(one),
  });
  return { verified, found };
}

t.test("what is right, and what is being removed, is left alone", async (t) => {
  const { verified, found } = await verify(true);
  t.same(found, []);
  t.same(verified, [
    { name: "posts.comment_count", checked: 2, wrong: 0, repaired: 0 },
    { name: "comments.reply_count", checked: 2, wrong: 0, repaired: 0 },
    { name: "comments.like_count", checked: 2, wrong: 0, repaired: 0 },
  ]);
});

t.test("what is wrong is found, and repaired when that is asked for", async (t) => {
  await sql.query(`
    UPDATE comment_counts SET comment_count = 5 WHERE post_id = '${POST}';
    INSERT INTO comment_counts VALUES ('${EMPTY}', 3);
    UPDATE comments SET reply_count = 0, like_count = 4 WHERE id = '${ROOT}'`);
  const wrong: WrongCounter[] = [
    { counter: "posts.comment_count", id: POST, kept: 5, actual: 2 },
    { counter: "posts.comment_count", id: EMPTY, kept: 3, actual: 0 },
    { counter: "comments.reply_count", id: ROOT, kept: 0, actual: 1 },
    { counter: "comments.like_count", id: ROOT, kept: 4, actual: 1 },
  ];
  t.same((await verify(false)).found, wrong);
  t.same((await verify(true)).found, wrong, "without --repair nothing was changed");
  t.same((await verify(false)).found, []);
  await sql.query(`DELETE FROM comment_counts WHERE post_id = '${POST}'`);
  t.same((await verify(true)).found, [{ counter: "posts.comment_count", id: POST, kept: 0, actual: 2 }]);
  t.same((await verify(false)).found, [], "also where the row is missing");
});
