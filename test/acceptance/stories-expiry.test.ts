import pg from "pg";
import t, { type Test } from "tap";
import type { Answer, Json, SignedIn } from "../support/client.ts";
import { picture } from "../support/pictures.ts";
import { startServer, waitFor } from "../support/server.ts";
import { startService } from "../support/service.ts";
import { postStory, processedStory, publishStory } from "../support/stories.ts";

const HOURS = 3_600_000;
const LIFETIME = 90_000;

const { client, databaseUrl, env, server } = await startService(t, { TINTYPE_STORIES_LIFETIME: "90s" });
const sql = new pg.Pool({ connectionString: databaseUrl, max: 4 });
t.teardown(() => sql.end());
/** Two more on the same database, whose clocks are wrong. */
const wrong = await Promise.all(
  [2 * HOURS, -2 * HOURS].map((ahead) => startServer({ ...env, TINTYPE_WORKER_EMBEDDED: "true" }, { ahead })),
);
t.teardown(() => Promise.all(wrong.map((one) => one.stop())));
const servers = [server, ...wrong];
const photo = await picture({ width: 90, height: 160 });
const [ana, ben] = [await client.register("ana"), await client.register("ben")];

/** What a server answers to somebody. */
const asking = (index: number, who: SignedIn, path: string, options: Json = {}, method = "GET"): Promise<Answer> => {
  const { client } = servers[index] as (typeof servers)[number];
  return (path.startsWith("/media/") ? client : client.as(who.token)).request(method, path, options);
};

/** Whether the story is over, by the clock of the database. */
async function isOver(id: string): Promise<boolean> {
  const { rows } = await sql.query("SELECT expires_at <= clock_timestamp() AS over FROM stories WHERE id = $1", [id]);
  return rows[0].over;
}

const RENDITIONS = ["thumbnail", "small", "medium", "large"];

/** Every way to a story, on every server: each says whether it is there. */
async function waysTo(story: Json): Promise<{ name: string; look(): Promise<boolean> }[]> {
  const ways: { name: string; look(): Promise<boolean> }[] = [];
  for (const index of servers.keys()) {
    for (const who of [ana, ben]) {
      const name = `${who.username}, server ${index}`;
      const found = (answer: Answer, ok: number) => {
        if (answer.status !== ok && answer.status !== 404) throw new Error(`${name}: ${answer.status} ${answer.bytes}`);
        return answer.status === ok;
      };
      ways.push(
        { name: `${name}, by id`, look: async () => found(await asking(index, who, `/stories/${story.id}`), 200) },
        {
          name: `${name}, the list`,
          async look() {
            const { body } = await asking(index, who, "/users/ana/stories");
            return body.items.some(({ id }: Json) => id === story.id);
          },
        },
      );
      const { body } = await asking(index, who, `/stories/${story.id}`);
      for (const rendition of RENDITIONS) {
        const { pathname, search } = new URL(body.media[0][`${rendition}_url`]);
        const path = `${pathname}${search}`;
        const etag = (await asking(index, who, path)).headers.get("etag") ?? "";
        const fetched = (ok: number, options: Json = {}, method = "GET") => ({
          name: `${name}, ${method} ${rendition} ${ok}`,
          look: async () => found(await asking(index, who, path, options, method), ok),
        });
        ways.push(fetched(200));
        if (rendition !== "large") continue;
        ways.push(
          fetched(200, {}, "HEAD"),
          fetched(206, { headers: { range: "bytes=0-9" } }),
          fetched(304, { headers: { "if-none-match": etag } }),
        );
      }
    }
  }
  return ways;
}

/** Looks until all ways say that the story is gone; none may say so before the database does, or anything else after. */
async function watchEnd(t: Test, id: string, ways: Awaited<ReturnType<typeof waysTo>>): Promise<void> {
  const mistakes: string[] = [];
  for (let ended = false; !ended; ) {
    const wasOver = await isOver(id);
    const looks = await Promise.all(ways.map(async ({ name, look }) => ({ name, found: await look() })));
    const nowOver = await isOver(id);
    for (const { name, found } of looks) {
      if (found && wasOver) mistakes.push(`${name}: there, though it is over`);
      if (!found && !nowOver) mistakes.push(`${name}: gone too early`);
    }
    ended = wasOver;
  }
  t.strictSame(mistakes, []);
}

t.test("a story is over when the database says so, whatever the clocks of the servers say", async (t) => {
  const published: Json[] = [];
  // Whichever of the three takes the job, one right and two wrong: none of their clocks counts.
  for (let i = 0; i < 3; i++) {
    const { rows: before } = await sql.query("SELECT clock_timestamp() AS now");
    const story = await publishStory(ana, photo);
    const { rows: after } = await sql.query("SELECT clock_timestamp() AS now");
    const at = Date.parse(story.published_at);
    t.ok(at >= before[0].now.getTime() && at <= after[0].now.getTime(), "published by its clock too");
    t.equal(Date.parse(story.expires_at) - at, LIFETIME);
    published.push(story);
  }
  const [story, other] = published;
  const ways = await waysTo(story);
  t.equal(ways.length, 3 * 2 * (2 + 4 + 3));
  for (const { name, look } of ways) if (!(await look())) t.fail(`${name}: not there`);
  await sql.query("UPDATE stories SET expires_at = clock_timestamp() + interval '2 s' WHERE id = $1", [story?.id]);
  await watchEnd(t, story?.id, ways);
  const { body } = await asking(1, ana, `/stories/${story?.id}`, {}, "DELETE");
  t.equal(body.error.code, "STORY_NOT_FOUND", "for its author too");
  t.equal((await asking(2, ben, `/stories/${other?.id}`)).status, 200, "and no other");
});

t.test("nobody is told to keep a picture for longer than its story is there", async (t) => {
  const story = await publishStory(ana, photo);
  for (const rest of [80, 7]) {
    await sql.query("UPDATE stories SET expires_at = clock_timestamp() + $2 * interval '1 s' WHERE id = $1", [
      story.id,
      rest,
    ]);
    for (const index of servers.keys()) {
      const answer = await asking(index, ben, await urlFor(ben, story.id));
      const { rows } = await sql.query(
        "SELECT extract(epoch FROM expires_at - clock_timestamp())::float AS rest FROM stories WHERE id = $1",
        [story.id],
      );
      const [, age] = /^private, max-age=(\d+)$/.exec(answer.headers.get("cache-control") ?? "") ?? [];
      t.equal(answer.status, 200);
      // What is left now is less than when it was answered.
      t.ok(Number(age) <= Math.min(60, rest), `${age} s of ${rest}`);
      t.ok(Number(age) >= Math.min(60, Math.floor(rows[0].rest)), `${age} s, and not much less than ${rows[0].rest}`);
    }
  }
});

async function urlFor(who: SignedIn, id: string): Promise<string> {
  const { pathname, search } = new URL((await asking(0, who, `/stories/${id}`)).body.media[0].large_url);
  return `${pathname}${search}`;
}

t.test("what is deleted is gone at once, everywhere, and its objects soon", async (t) => {
  const story = await publishStory(ana, photo);
  const ways = await waysTo(story);
  t.equal((await asking(2, ben, `/stories/${story.id}`, {}, "DELETE")).body.error.code, "NOT_YOUR_STORY");
  const deletions = await Promise.all(
    [0, 1, 2, 0, 1].map((at) => asking(at, ana, `/stories/${story.id}`, {}, "DELETE")),
  );
  t.strictSame(
    deletions.map(({ status }) => status).sort(),
    [204, 404, 404, 404, 404],
    "once, however often it is asked for",
  );
  const still = await Promise.all(ways.map(async ({ name, look }) => ((await look()) ? [name] : [])));
  t.strictSame(still.flat(), []);
  await waitFor(async () => {
    const { rowCount } = await sql.query(
      "SELECT id FROM stories WHERE id = $1 UNION ALL SELECT id FROM media WHERE id = $2",
      [story.id, story.media[0].id],
    );
    return rowCount === 0;
  }, "its rows to go");
});

t.test("a story that is deleted while it is processed leaves nothing", async (t) => {
  for (const wait of [0, 20, 50, 100]) {
    const id = await postStory(ana, photo);
    await new Promise((resolve) => setTimeout(resolve, wait));
    t.equal((await asking(1, ana, `/stories/${id}`, {}, "DELETE")).status, 204, `after ${wait} ms`);
    t.equal((await asking(2, ana, `/stories/${id}`)).status, 404);
  }
  const last = await postStory(ana, photo);
  await processedStory(ana, last);
  await waitFor(async () => {
    const { rowCount } = await sql.query(
      `SELECT FROM media WHERE NOT EXISTS (SELECT FROM stories WHERE medium_id = media.id)
       UNION ALL SELECT FROM stories WHERE status = 'removed'`,
    );
    return rowCount === 0;
  }, "what is left of them to go");
  const listed = (await ben.request("GET", "/users/ana/stories")).body.items.map(({ id }: Json) => id);
  t.ok(listed.includes(last));
});
