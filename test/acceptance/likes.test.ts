import pg from "pg";
import t from "tap";
import type { Answer, Client, Json, SignedIn } from "../support/client.ts";
import { exactly } from "../support/exactly.ts";
import { picture } from "../support/pictures.ts";
import { run, waitFor } from "../support/server.ts";
import { publish, startService } from "../support/service.ts";

const { client, databaseUrl, env } = await startService(t, { TINTYPE_LIMITS_ENABLED: "false" });
const sql = new pg.Pool({ connectionString: databaseUrl, max: 1 });
t.teardown(() => sql.end());
const photo = await picture({ width: 32, height: 24 });
const [ana, ben, cleo] = (await Promise.all(["ana", "ben", "cleo"].map((name) => client.register(name)))) as [
  SignedIn,
  SignedIn,
  SignedIn,
];
const NOTHING = "01890000-0000-7000-8000-000000000000";

const like = (who: Client, postId: string) => who.request("POST", `/posts/${postId}/like`);
const unlike = (who: Client, postId: string) => who.request("DELETE", `/posts/${postId}/like`);
const likers = async (who: Client, postId: string) =>
  (await who.request("GET", `/posts/${postId}/likes`)).body.items.map(({ username }: Json) => username);

async function metric(name: string): Promise<number> {
  const text = (await client.request("GET", "/metrics")).bytes.toString();
  return Number(
    text
      .split("\n")
      .find((line) => line.startsWith(`${name} `))
      ?.split(" ")[1] ?? 0,
  );
}

const verify = async (...flags: string[]) => {
  const { code, stdout } = await run(["counters", "verify", "--json", ...flags], env);
  return { code, ...JSON.parse(stdout) };
};

t.test("likes and unlikes, once and again", async (t) => {
  const { id } = await publish(ana, [photo]);
  const answers = (count: number, idempotent: boolean) => ({
    status: 200,
    body: { success: true, idempotent, like_count: count },
  });
  const is = ({ status, body }: Answer, count: number, idempotent: boolean) =>
    t.strictSame({ status, body }, answers(count, idempotent));
  is(await unlike(ben, id), 0, true);
  is(await like(ben, id), 1, false);
  is(await like(ben, id.toUpperCase()), 1, true);
  is(await like(ana, id), 2, false);
  is(await like(cleo, id), 3, false);
  const { body: notifications } = await ana.request("GET", "/notifications");
  t.match(notifications.items[0], { type: "like", actor_count: 2, post_id: id }, "whoever asks finds them at once");
  t.strictSame(await likers(ben, id), ["cleo", "ana", "ben"], "the latest first");
  is(await unlike(ana, id), 2, false);
  is(await unlike(ana, id), 2, true);
  const seen = async (who: Client) => {
    const { body } = await who.request("GET", `/posts/${id}`);
    return [body.like_count, body.liked_by_me];
  };
  t.strictSame(
    [await seen(ana), await seen(ben)],
    [
      [2, false],
      [2, true],
    ],
  );
  await waitFor(async () => (await sql.query("SELECT FROM like_log")).rowCount === 0, "the log to be rolled up");
  t.strictSame(await seen(cleo), [2, true], "the same when it is rolled up");
  is(await like(cleo, id), 2, true);
  t.strictSame(
    [
      await metric('instagram_likes_total{action="like"}'),
      await metric('instagram_likes_total{action="unlike"}'),
      await metric("instagram_likes_duplicate_total"),
    ],
    [3, 1, 2],
  );
});

t.test("who likes a post is listed in pages, and shows nobody whom a block hides", async (t) => {
  const { id } = await publish(ana, [photo]);
  for (const who of [ana, ben, cleo]) await like(who, id);
  const names: string[] = [];
  for (let path: string | null = `/posts/${id}/likes?limit=1`; path !== null; ) {
    const { body }: Answer = await cleo.request("GET", path);
    names.push(...body.items.map(({ username }: Json) => username));
    path = body.next_cursor && `/posts/${id}/likes?limit=1&cursor=${body.next_cursor}`;
  }
  t.strictSame(names, ["cleo", "ben", "ana"]);
  t.match((await cleo.request("GET", `/posts/${id}/likes`)).body.items[1], { relationship: { following: false } });
  await ben.request("POST", "/users/cleo/block");
  t.strictSame(await likers(cleo, id), ["cleo", "ana"]);
  t.strictSame(await likers(ben, id), ["ben", "ana"]);
  t.strictSame(await likers(ana, id), ["cleo", "ben", "ana"]);
  t.equal((await ana.request("GET", `/posts/${id}`)).body.like_count, 3);
  await ben.request("DELETE", "/users/cleo/block");
  // More than a page looks at, all later and of people who are not there any more.
  await sql.query(
    `WITH gone AS (
       INSERT INTO users (id, username, email, password_hash, state)
       SELECT gen_random_uuid(), 'gone' || n, n || '@gone.example.org', '', 'suspended' FROM generate_series(1, 600) AS n
       RETURNING id
     )
     INSERT INTO likes (user_id, post_id, created_at) SELECT id, $1, now() + interval '1 minute' FROM gone`,
    [id],
  );
  const { body: first } = await cleo.request("GET", `/posts/${id}/likes?limit=2`);
  t.strictSame(first.items, [], "a page looks at a bounded number of them");
  const { body: second } = await cleo.request("GET", `/posts/${id}/likes?limit=2&cursor=${first.next_cursor}`);
  t.strictSame(
    second.items.map(({ username }: Json) => username),
    ["cleo", "ben"],
  );
  await sql.query("DELETE FROM likes WHERE created_at > now()");
  for (const path of [NOTHING, "1", "%00"]) {
    for (const [method, action] of [
      ["POST", "like"],
      ["DELETE", "like"],
      ["GET", "likes"],
      ["POST", "save"],
      ["DELETE", "save"],
    ] as const) {
      const { status, body } = await ana.request(method, `/posts/${path}/${action}`);
      t.match({ status, body }, { status: 404, body: { error: { code: "POST_NOT_FOUND" } } }, `${method} ${path}`);
    }
  }
});

t.test("one's own post is liked, saved and commented on when it is published", async (t) => {
  const insert = "INSERT INTO posts (id, user_id, status) VALUES (gen_random_uuid(), $1, 'processing') RETURNING id";
  const { id } = (await sql.query(insert, [ana.id])).rows[0];
  for (const [method, action, json] of [
    ["POST", "like", undefined],
    ["DELETE", "like", undefined],
    ["POST", "save", undefined],
    ["POST", "save", { collection: "too early" }],
    ["DELETE", "save", undefined],
    ["POST", "comments", { text: "too early" }],
  ] as const) {
    const answer = async (who: Client) => {
      const { status, body } = await who.request(method, `/posts/${id}/${action}`, json ? { json } : {});
      return [status, body.error?.code];
    };
    t.strictSame(await answer(ana), [409, "POST_NOT_PUBLISHED"], `${method} ${action}`);
    t.strictSame(await answer(ben), [404, "POST_NOT_FOUND"], `${method} ${action}, not one's own`);
  }
  t.strictSame((await ana.request("GET", "/me/collections")).body.items, [], "no collection is made by it");
  const { rows } = await sql.query(
    "SELECT FROM likes WHERE post_id = $1 UNION ALL SELECT FROM saves WHERE post_id = $1",
    [id],
  );
  t.strictSame(rows, []);
  await sql.query("DELETE FROM posts WHERE id = $1", [id]);
});

t.test("a thousand likes and unlikes of one post at once", async (t) => {
  const { id } = await publish(ana, [photo]);
  const people = await Promise.all(Array.from({ length: 25 }, (_, n) => client.register(`fan${n}`)));
  const likes = new Set<string>();
  // Each person's own come one after the other, so what there is in the end is known.
  await Promise.all(
    people.map(async (who, n) => {
      for (let round = 0; round < 40; round++) {
        const likesNow = (n + round * (1 + (n % 3))) % 5 < 3;
        const was = likes.has(who.username);
        const { status, body } = await (likesNow ? like : unlike)(who, id);
        if (likesNow) likes.add(who.username);
        else likes.delete(who.username);
        if (status !== 200 || body.idempotent !== (was === likesNow)) t.fail(`${status} ${JSON.stringify(body)}`);
      }
    }),
  );
  const { rows } = await sql.query("SELECT count(*)::int AS count FROM likes WHERE post_id = $1", [id]);
  t.equal(rows[0].count, likes.size);
  t.equal((await ana.request("GET", `/posts/${id}`)).body.like_count, likes.size);
  const listed = (await ana.request("GET", `/posts/${id}/likes?limit=100`)).body.items;
  t.strictSame(listed.map(({ username }: Json) => username).sort(), [...likes].sort());
  const verified = await verify();
  t.match(verified, { code: 0, wrong: 0, repaired: 0, differences: exactly() });
  t.ok(verified.counters.find(({ name }: Json) => name === "posts.like_count").checked >= 3);
});

t.test("counters verify finds a counter that is wrong, and --repair sets it right", async (t) => {
  const { id } = await publish(ben, [photo]);
  await like(ana, id);
  await ana.request("POST", "/users/ben/follow");
  await waitFor(async () => (await sql.query("SELECT FROM like_log")).rowCount === 0, "the log to be rolled up");
  const wrong = [
    ["posts.like_count", "UPDATE like_counts SET like_count = like_count + 2 WHERE post_id = $1", id, 3, 1],
    ["users.post_count", "UPDATE users SET post_count = post_count - 1 WHERE id = $1", ben.id, 0, 1],
    ["users.follower_count", "UPDATE users SET follower_count = 7 WHERE id = $1", ben.id, 7, 1],
    ["users.following_count", "UPDATE users SET following_count = 0 WHERE id = $1", ana.id, 0, 1],
    ["likes of posts that are gone", `INSERT INTO likes (user_id, post_id) VALUES ('${ana.id}', $1)`, NOTHING, 1, 0],
    ["saves of posts that are gone", `INSERT INTO saves (user_id, post_id) VALUES ('${ana.id}', $1)`, NOTHING, 1, 0],
  ] as const;
  for (const [, statement, of] of wrong) await sql.query(statement, [of]);
  const expected = wrong.map(([counter, , id, kept, actual]) => ({ counter, id, kept, actual }));
  const sorted = (differences: Json[]) => differences.toSorted((a, b) => (a.counter < b.counter ? -1 : 1));
  for (const flags of [[], ["--repair"]]) {
    const found = await verify(...flags);
    t.strictSame(sorted(found.differences), sorted(expected));
    const repaired = flags.length > 0 ? wrong.length : 0;
    t.match(found, { code: repaired > 0 ? 0 : 1, wrong: wrong.length, repaired });
  }
  t.match(await verify(), { code: 0, wrong: 0 });
  t.equal((await ana.request("GET", `/posts/${id}`)).body.like_count, 1);
  const human = await run(["counters", "verify"], env);
  t.match(human.stdout, /NAME +CHECKED +WRONG +REPAIRED\n(.*\n)*posts\.like_count +\d+ +0 +0/);
});

t.test("what is left of a deleted post is seen by nobody, and goes", async (t) => {
  const { id } = await publish(ana, [photo]);
  await like(ben, id);
  await ben.request("POST", `/posts/${id}/save`, { json: { collection: "kept" } });
  await ana.request("DELETE", `/posts/${id}`);
  t.equal((await like(cleo, id)).status, 404);
  t.equal((await unlike(ben, id)).status, 404);
  t.equal((await ben.request("GET", "/me/collections")).body.items[0].post_count, 0);
  t.match(await verify(), { code: 0, wrong: 0 }, "its time has not come");
  await sql.query("UPDATE pgboss.job SET start_after = now() WHERE name IN ('likes.forget', 'saves.forget')");
  await waitFor(async () => {
    const { rows } = await sql.query(
      `SELECT (SELECT count(*) FROM likes WHERE post_id = $1) + (SELECT count(*) FROM like_log WHERE post_id = $1)
         + (SELECT count(*) FROM like_counts WHERE post_id = $1) + (SELECT count(*) FROM saves WHERE post_id = $1)
         + (SELECT count(*) FROM collection_posts WHERE post_id = $1) AS left`,
      [id],
    );
    return rows[0].left === "0";
  }, "what is left to be removed");
});

t.test("an account's likes and saves go with it", async (t) => {
  const { id } = await publish(ana, [photo]);
  for (const who of [ben, cleo]) await like(who, id);
  await cleo.request("POST", `/posts/${id}/save`, { json: { collection: "gone soon" } });
  // More than go at a time.
  for (const table of ["likes", "saves"]) {
    const many = `INSERT INTO ${table} (user_id, post_id) SELECT $1, gen_random_uuid() FROM generate_series(1, 1100)`;
    await sql.query(many, [cleo.id]);
  }
  t.equal((await cleo.request("DELETE", "/me", { json: { password: cleo.password } })).status, 202);
  await waitFor(
    async () => (await sql.query("SELECT FROM users WHERE id = $1", [cleo.id])).rowCount === 0,
    "the account to be deleted",
  );
  t.equal((await ana.request("GET", `/posts/${id}`)).body.like_count, 1);
  t.strictSame(await likers(ana, id), ["ben"]);
  const { rowCount } = await sql.query("SELECT FROM like_log WHERE user_id = $1", [cleo.id]);
  t.equal(rowCount, 0, "the log does not name it any more");
  t.match(await verify(), { code: 0, wrong: 0 });
});
