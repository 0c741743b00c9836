import pg from "pg";
import t, { type Test } from "tap";
import type { SignedIn } from "../support/client.ts";
import { wrongCounters } from "../support/counters.ts";
import { waitFor } from "../support/server.ts";
import { startService } from "../support/service.ts";

t.jobs = 2;

const REQUESTS = 2_000;

/** Accounts that nobody signs in to, each of which asks to follow `star`. */
async function addRequests(sql: pg.Pool, star: SignedIn): Promise<void> {
  await sql.query(
    `WITH added AS (
       INSERT INTO users (id, username, email, password_hash)
       SELECT gen_random_uuid(), 'fan_' || n, 'fan_' || n || '@example.org', '' FROM generate_series(1, $2::int) AS n
       RETURNING id)
     INSERT INTO follow_requests (follower_id, following_id) SELECT id, $1 FROM added`,
    [star.id, REQUESTS],
  );
}

async function place(t: Test) {
  const { client, databaseUrl } = await startService(t);
  const sql = new pg.Pool({ connectionString: databaseUrl, max: 2 });
  t.teardown(() => sql.end());
  const count = async (table: string, where = "true") =>
    Number((await sql.query(`SELECT count(*) FROM ${table} WHERE ${where}`)).rows[0].count);
  return { client, sql, count };
}

async function setPrivate(person: SignedIn, is_private: boolean): Promise<void> {
  const { status } = await person.request("PATCH", "/me", { json: { is_private } });
  if (status !== 200) throw new Error(`PATCH /me: ${status}`);
}

t.test("going public approves all who wait", { buffered: true }, async (t) => {
  const { client, sql, count } = await place(t);
  const [star, early] = await Promise.all([client.register("star"), client.register("early")]);
  await setPrivate(star, true);
  t.equal((await early.request("POST", "/users/star/follow")).body.status, "requested");
  await addRequests(sql, star);
  await sql.query("UPDATE users SET state = 'suspended' WHERE username = 'fan_1'");
  await sql.query("UPDATE users SET state = 'deleting' WHERE username = 'fan_2'");
  // One of them is busy elsewhere: the answer does not wait for that.
  const busy = await sql.connect();
  await busy.query("BEGIN; SELECT FROM users WHERE username = 'fan_3' FOR UPDATE");
  await setPrivate(star, false);
  t.ok((await early.request("GET", "/users/star")).body.relationship.following, "the earliest at once");
  t.ok((await count("follows")) >= 500, "and five hundred in all");
  await busy.query("COMMIT");
  busy.release();
  await waitFor(async () => (await count("follows")) === REQUESTS, "the rest");
  const { rows: left } = await sql.query(
    "SELECT username FROM follow_requests JOIN users ON users.id = follower_id ORDER BY username",
  );
  t.strictSame(left, [{ username: "fan_2" }], "but who is being deleted; the suspended find it done");
  t.strictSame(await wrongCounters(sql), []);
  t.equal((await star.request("GET", "/me")).body.follower_count, REQUESTS - 1, "but the suspended one");
  t.equal(await count("follows", "NOT counted"), 1);
  const { rows: jobs } = await sql.query("SELECT DISTINCT name FROM pgboss.job WHERE state = 'failed'");
  t.strictSame(jobs, []);
});

t.test("while everybody changes their mind", { buffered: true }, async (t) => {
  const { client, sql, count } = await place(t);
  const star = await client.register("star");
  const people = await Promise.all(Array.from({ length: 12 }, (_, n) => client.register(`racer${n}`)));
  const statuses = new Set<number>();
  for (let round = 0; round < 2; round++) {
    await setPrivate(star, true);
    if (round === 0) await addRequests(sql, star);
    else {
      await sql.query(`
        WITH ended AS (DELETE FROM follows WHERE follower_id IN (SELECT id FROM users WHERE username LIKE 'fan%')
                       RETURNING follower_id, following_id),
          own AS (UPDATE users SET following_count = following_count - 1 WHERE id IN (SELECT follower_id FROM ended)),
          stars AS (UPDATE users SET follower_count = follower_count - (SELECT count(*) FROM ended)
                    WHERE id IN (SELECT following_id FROM ended))
        INSERT INTO follow_requests SELECT follower_id, following_id FROM ended ON CONFLICT DO NOTHING`);
    }
    for (const person of people) await person.request("POST", "/users/star/follow");
    const flipping = (async () => {
      for (const is_private of [false, true, false, true, false]) await setPrivate(star, is_private);
    })();
    const racing = people.map(async (person, n) => {
      for (let step = 0; step < 6; step++) {
        const [method, path] = (
          [
            ["POST", "/users/star/follow"],
            ["DELETE", "/users/star/follow"],
            ["POST", `/users/racer${(n + 1) % people.length}/follow`],
            ["POST", "/users/star/block"],
            ["DELETE", "/users/star/block"],
          ] as const
        )[(n + step) % 5] ?? ["GET", "/me"];
        statuses.add((await person.request(method, path)).status);
      }
    });
    const blocking = (async () => {
      for (const method of ["POST", "DELETE"]) await star.request(method, "/users/racer0/block");
    })();
    await Promise.all([flipping, blocking, ...racing]);
    await waitFor(async () => (await count("follow_requests")) === 0, "nobody to wait any more");
    t.strictSame(await wrongCounters(sql), [], `round ${round}`);
    const both = await count(
      "blocks",
      "EXISTS (SELECT FROM follows WHERE follower_id IN (blocker_id, blocked_id) AND following_id IN (blocker_id, blocked_id))",
    );
    t.equal(both, 0, "nobody follows across a block");
  }
  t.notOk(
    [...statuses].some((status) => status >= 500),
    `only the contract's answers: ${[...statuses]}`,
  );
  t.ok((await count("follows")) >= REQUESTS);
});
