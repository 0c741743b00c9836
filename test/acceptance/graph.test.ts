import * as fc from "fast-check";
import pg from "pg";
import t from "tap";
import type { Answer, Client, SignedIn } from "../support/client.ts";
import { createClient } from "../support/client.ts";
import { testDatabase } from "../support/database.ts";
import { startServer, temporaryFolder } from "../support/server.ts";

const database = await testDatabase(t);
const sql = new pg.Pool({ connectionString: database.url, max: 2 });
t.teardown(() => sql.end());
const env = { TINTYPE_DATABASE_URL: database.url, TINTYPE_DATA_DIR: await temporaryFolder(t) };
const servers = await Promise.all([startServer(env), startServer(env)]);
t.teardown(() => Promise.all(servers.map((server) => server.stop())));
const [first, second] = servers;

/** Each account at both servers. */
async function registerAll(names: readonly string[]): Promise<Array<[SignedIn, Client]>> {
  return Promise.all(
    names.map(async (name): Promise<[SignedIn, Client]> => {
      const account = await first.client.register(name);
      return [account, createClient(second.url, account.token)];
    }),
  );
}

function follow(client: Client, username: string): Promise<Answer> {
  return client.request("POST", `/users/${username}/follow`);
}

function unfollow(client: Client, username: string): Promise<Answer> {
  return client.request("DELETE", `/users/${username}/follow`);
}

/** All names of a list, a page at a time, by the `Link` header or the cursor. */
async function listAll(
  client: Client,
  path: string,
  limit: number,
  by: "link" | "cursor" = "cursor",
): Promise<string[]> {
  const names: string[] = [];
  for (let next: string | null = `${path}?limit=${limit}`; next !== null; ) {
    const { status, body, headers }: Answer = await client.request("GET", next);
    if (status !== 200) throw new Error(`${next}: ${status}`);
    if (body.items.length > limit) throw new Error(`a page of ${body.items.length}`);
    names.push(...body.items.map((user: { username: string }) => user.username));
    const link = /^<([^>]+)>; rel="next"$/.exec(headers.get("link") ?? "")?.[1] ?? null;
    if ((link === null) !== (body.next_cursor === null)) throw new Error("Link and next_cursor do not agree");
    next = body.next_cursor && (by === "link" ? link : `${path}?limit=${limit}&cursor=${body.next_cursor}`);
  }
  return names;
}

/** What the counters say, and what the rows say, of every account. */
async function countersAndRows(): Promise<{ counters: unknown[]; rows: unknown[] }> {
  const { rows: all } = await sql.query(`
    SELECT username, follower_count, following_count,
      (SELECT count(*)::int FROM follows WHERE following_id = users.id) AS followers,
      (SELECT count(*)::int FROM follows WHERE follower_id = users.id) AS followings
    FROM users ORDER BY username`);
  return {
    counters: all.map((row) => [row.username, row.follower_count, row.following_count]),
    rows: all.map((row) => [row.username, row.followers, row.followings]),
  };
}

t.test("following and unfollowing, once and again", async (t) => {
  const [[anna], [bert]] = (await registerAll(["anna", "bert"])) as [[SignedIn, Client], [SignedIn, Client]];
  const relations = async (viewer: Client, name: string) => {
    const { body } = await viewer.request("GET", `/users/${name}`);
    return [body.relationship.following, body.relationship.followed_by, body.follower_count, body.following_count];
  };
  t.strictSame(await relations(anna, "bert"), [false, false, 0, 0]);
  for (const name of ["bert", "BERT", "bert"]) {
    const answer = await follow(anna, name);
    t.equal(answer.status, 200);
    t.strictSame(answer.body, { status: "following" });
    t.strictSame(await relations(anna, "bert"), [true, false, 1, 0], "counted once");
    t.strictSame(await relations(bert, "anna"), [false, true, 0, 1]);
  }
  t.strictSame((await follow(bert, "anna")).body, { status: "following" });
  t.strictSame(await relations(anna, "bert"), [true, true, 1, 1]);
  t.equal((await anna.request("GET", "/me")).body.following_count, 1);

  const { body } = await bert.request("GET", "/users/anna/followers");
  t.strictSame(body, {
    items: [
      {
        id: bert.id,
        username: "bert",
        display_name: null,
        avatar_url: null,
        relationship: { following: false, requested: false, followed_by: false, blocking: false, muting: false },
      },
    ],
    next_cursor: null,
  });
  for (let time = 0; time < 3; time++) {
    t.strictSame((await unfollow(anna, "bert")).body, { status: "none" });
    t.strictSame(await relations(anna, "bert"), [false, true, 0, 1], "counted once");
  }

  const oneself = await follow(anna, "Anna");
  t.equal(oneself.status, 422);
  t.equal(oneself.body.error.code, "CANNOT_FOLLOW_SELF");
  for (const path of ["/users/nobody/follow", "/users/nobody/followers", "/users/nobody/following", "/users/nobody"]) {
    const answer = await anna.request(path.endsWith("follow") ? "POST" : "GET", path);
    t.equal(answer.status, 404, path);
    t.equal(answer.body.error.code, "USER_NOT_FOUND");
  }
  t.equal((await unfollow(anna, "nobody")).status, 404);
});

t.test("lists go on by keyset, through ties and changes", async (t) => {
  const [[star]] = (await registerAll(["star"])) as [[SignedIn, Client]];
  const names = Array.from({ length: 30 }, (_, index) => `fan${String(index).padStart(2, "0")}`);
  const fans = await registerAll(names);
  for (const [fan] of fans) await follow(fan, "star");
  const latestFirst = names.toReversed();
  t.strictSame(await listAll(star, "/users/star/followers", 100), latestFirst, "latest first");
  t.strictSame(await listAll(star, "/users/star/followers", 7), latestFirst);
  t.strictSame(await listAll(star, "/users/star/followers", 10, "link"), latestFirst, "by the Link header");

  await sql.query(
    "UPDATE follows SET created_at = date_trunc('second', now()) WHERE following_id = $1 AND follower_id <> $2",
    [star.id, fans[0]?.[0].id],
  );
  for (const limit of [1, 4, 29, 30, 31]) {
    const listed = await listAll(star, "/users/star/followers", limit);
    t.equal(listed.length, 30, `29 at the same millisecond, by ${limit}: none lost, none twice`);
    t.equal(new Set(listed).size, 30);
  }

  const page = (await star.request("GET", "/users/star/followers?limit=10")).body;
  for (const [fan] of fans.slice(0, 10)) {
    await unfollow(fan, "star");
    await follow(fan, "star");
  }
  const rest = await listAll(star, `/users/star/followers`, 100);
  const after = (await star.request("GET", `/users/star/followers?limit=100&cursor=${page.next_cursor}`)).body.items;
  t.strictSame(
    after.map((user: { username: string }) => user.username),
    rest.slice(rest.indexOf(page.items[9].username) + 1),
    "a page goes on behind where it ended, whatever came on top meanwhile",
  );

  t.equal((await star.request("GET", "/users/star/followers")).body.items.length, 20, "twenty unless asked otherwise");
  for (const query of [
    "limit=0",
    "limit=101",
    "limit=x",
    "limit=1.5",
    "limit=-1",
    "cursor=x",
    "cursor=%00",
    "cursor=",
  ]) {
    const { status, body } = await star.request("GET", `/users/star/followers?${query}`);
    t.ok(status === 400 || (query === "cursor=%00" && status === 422), `${query}: ${status}`);
    t.type(body.error.code, "string");
  }
  const cursor = Buffer.from(page.next_cursor, "base64url");
  for (const bytes of [cursor.subarray(1), Buffer.alloc(24, 255), Buffer.concat([cursor, cursor])]) {
    const answer = await star.request("GET", `/users/star/following?cursor=${bytes.toString("base64url")}`);
    t.equal(answer.status, 400);
    t.equal(answer.body.error.code, "INVALID_CURSOR");
  }
});

t.test("hundreds at once in both directions: no failure, exact counters", async (t) => {
  const names = Array.from({ length: 10 }, (_, index) => `crowd${index}`);
  const crowd = await registerAll(names);
  // Everybody at everybody, by both servers, at once: each pair's two directions lock the same two accounts.
  const ask = async (change: typeof follow) => {
    const answers = await Promise.all(
      crowd.flatMap(([self, elsewhere]) =>
        names
          .filter((name) => name !== self.username)
          .flatMap((name) => [change(self, name), change(elsewhere, name), change(self, name)]),
      ),
    );
    t.equal(answers.length, 270);
    t.strictSame([...new Set(answers.map((answer) => answer.status))], [200]);
    return countersAndRows();
  };
  const crowded = (entries: unknown[]) => entries.filter((entry) => String((entry as [string])[0]).startsWith("crowd"));
  const full = await ask(follow);
  t.strictSame(full.counters, full.rows);
  t.strictSame(
    crowded(full.counters),
    names.map((name) => [name, 9, 9]),
  );
  const empty = await ask(unfollow);
  t.strictSame(empty.counters, empty.rows);
  t.strictSame(
    crowded(empty.counters),
    names.map((name) => [name, 0, 0]),
  );
});

t.test("whatever is done at once, the graph is what a model says", async (t) => {
  const names = Array.from({ length: 6 }, (_, index) => `model${index}`);
  const people = await registerAll(names);
  /** The oracle: `follower>followed`, kept by the rules of the contract alone. */
  const model = new Set<string>();

  const person = fc.nat({ max: names.length - 1 });
  const operation = fc
    .record({
      from: person,
      to: person,
      server: fc.constantFrom(0 as const, 1 as const),
      change: fc.constantFrom("follow" as const, "unfollow" as const),
    })
    .filter(({ from, to }) => from !== to);
  const rounds = fc.array(fc.array(operation, { minLength: 10, maxLength: 50 }), { minLength: 1, maxLength: 3 });

  const viewOf = async (from: number, to: number) => {
    const { body } = await (people[from] as [SignedIn, Client])[0].request("GET", `/users/${names[to]}`);
    return body;
  };

  await fc.assert(
    fc.asyncProperty(rounds, async (operations) => {
      for (const round of operations) {
        const answers = await Promise.all(
          round.map(({ from, to, server, change }) => {
            const client = (people[from] as [SignedIn, Client])[server];
            return (change === "follow" ? follow : unfollow)(client, String(names[to]));
          }),
        );
        for (const [index, { status, body }] of answers.entries()) {
          const expected = round[index]?.change === "follow" ? "following" : "none";
          if (status !== 200 || body.status !== expected) throw new Error(`answered ${status} ${body.status}`);
        }
        const wishes = Map.groupBy(round, ({ from, to }) => `${from}>${to}`);
        for (const [pair, wished] of wishes) {
          const [{ from, to, change }] = wished as [(typeof round)[number]];
          // Of a follow and an unfollow at once either may be the last: then what is told is believed, and must agree below.
          const both = wished.some((other) => other.change !== change);
          const follows = both ? (await viewOf(from, to)).relationship.following : change === "follow";
          if (follows) model.add(pair);
          else model.delete(pair);
        }
      }
      const pairs = [...model].map((pair) => pair.split(">").map(Number) as [number, number]);
      for (const [index, name] of names.entries()) {
        const other = (index + 1) % names.length;
        const seen = await viewOf(other, index);
        const followers = pairs.filter(([, to]) => to === index).map(([from]) => names[from]);
        const followings = pairs.filter(([from]) => from === index).map(([, to]) => names[to]);
        const told = {
          counts: [seen.follower_count, seen.following_count],
          followers: (await listAll(people[index]?.[1] as Client, `/users/${name}/followers`, 2)).sort(),
          followings: (await listAll(people[index]?.[0] as Client, `/users/${name}/following`, 3)).sort(),
          relationship: [seen.relationship.following, seen.relationship.followed_by],
        };
        const expected = {
          counts: [followers.length, followings.length],
          followers: followers.sort(),
          followings: followings.sort(),
          relationship: [model.has(`${other}>${index}`), model.has(`${index}>${other}`)],
        };
        if (JSON.stringify(told) !== JSON.stringify(expected)) {
          throw new Error(`${name}: told ${JSON.stringify(told)}, expected ${JSON.stringify(expected)}`);
        }
      }
    }),
    // Each run goes on from the graph of the one before, so a failure is not made smaller but shown as it was.
    { numRuns: 12, endOnFailure: true },
  );
  const { counters, rows } = await countersAndRows();
  t.strictSame(counters, rows, "counters equal rows for every account");
  t.ok(model.size > 0, "the model ended with some relations");
});
