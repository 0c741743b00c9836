import pg from "pg";
import t from "tap";
import type { Client } from "../support/client.ts";
import { picture } from "../support/pictures.ts";
import { startServer, waitFor } from "../support/server.ts";
import { startService } from "../support/service.ts";
import { redisService } from "../support/services.ts";
import { publishStory } from "../support/stories.ts";

t.jobs = 2;

const photo = await picture({ width: 45, height: 80 });

const items = async (viewer: Client) => {
  const { status, body } = await viewer.request("GET", "/stories/tray");
  if (status !== 200) throw new Error(`tray: ${status}`);
  return body.items;
};

/** Name, whether something is unseen, and how many. */
const shown = async (viewer: Client) =>
  (await items(viewer)).map((item: { user: { username: string }; has_unseen: boolean; count: number }) => [
    item.user.username,
    item.has_unseen,
    item.count,
  ]);

for (const kind of ["with Redis", "without Redis"]) {
  t.test(`the tray ${kind}, asked at two servers`, { buffered: true }, async (t) => {
    const redis = kind === "with Redis" ? await redisService(t) : null;
    if (redis === undefined) return;
    const { client, env, databaseUrl } = await startService(
      t,
      redis === null ? {} : { TINTYPE_REDIS_URL: redis.url, TINTYPE_REDIS_KEY_PREFIX: redis.prefix },
    );
    const second = await startServer({ ...env, TINTYPE_WORKER_EMBEDDED: "false" });
    t.teardown(() => second.stop());
    const sql = new pg.Pool({ connectionString: databaseUrl, max: 1 });
    t.teardown(() => sql.end());
    const [ana, ben, cleo] = await Promise.all(["ana", "ben", "cleo"].map((name) => client.register(name)));
    if (!ana || !ben || !cleo) throw new Error("three were registered");
    const elsewhere = second.client.as(ana.token);
    /** What the other server says now, which was asked before too. */
    const now = async (wanted: unknown[], about: string) => t.strictSame(await shown(elsewhere), wanted, about);
    const soon = (wanted: unknown[], about: string) =>
      waitFor(async () => JSON.stringify(await shown(elsewhere)) === JSON.stringify(wanted), about);
    const change = async (by: Client, method: "POST" | "DELETE", path: string, then: unknown[]) => {
      await shown(elsewhere);
      const { status } = await by.request(method, path);
      if (status !== 200 && status !== 204) throw new Error(`${method} ${path}: ${status}`);
      await now(then, `${method} ${path}`);
    };

    t.equal((await client.request("GET", "/stories/tray")).status, 401);
    await now([], "nobody is followed");
    await ben.request("PATCH", "/me", { json: { is_private: true, display_name: "Ben" } });
    await ana.request("POST", "/users/ben/follow");
    await ben.request("POST", "/follow-requests/ana/approve");
    await ana.request("POST", "/users/cleo/follow");
    const first = await publishStory(ben, photo);
    await publishStory(ben, photo);
    const last = await publishStory(cleo, photo);
    await soon(
      [
        ["cleo", true, 1],
        ["ben", true, 2],
      ],
      "the new stories to show",
    );
    const [{ user, latest_story_at }] = await items(ana);
    t.strictSame(user, last.author, "a user as in any list");
    t.equal(latest_story_at, last.published_at);

    await sql.query("INSERT INTO story_views (story_id, viewer_id) VALUES ($1, $2)", [last.id, ana.id]);
    await soon(
      [
        ["ben", true, 2],
        ["cleo", false, 1],
      ],
      "the view to show",
    );
    await shown(elsewhere);
    await publishStory(ana, photo, { audience: "close_friends" });
    const mine = ["ana", false, 1];
    await now([mine, ["ben", true, 2], ["cleo", false, 1]], "one's own at once");
    await change(ben, "DELETE", `/stories/${first.id}`, [mine, ["ben", true, 1], ["cleo", false, 1]]);
    await change(ana, "POST", "/users/ben/mute", [mine, ["cleo", false, 1]]);
    await change(ana, "DELETE", "/users/ben/mute", [mine, ["ben", true, 1], ["cleo", false, 1]]);
    await change(ben, "POST", "/me/story-hides/ana", [mine, ["cleo", false, 1]]);
    await change(ben, "DELETE", "/me/story-hides/ana", [mine, ["ben", true, 1], ["cleo", false, 1]]);
    await change(ben, "DELETE", "/me/followers/ana", [mine, ["cleo", false, 1]]);
    await sql.query("UPDATE stories SET expires_at = now() WHERE user_id = $1", [ana.id]);
    await soon([["cleo", false, 1]], "one's own to be over");
    await change(cleo, "POST", "/users/ana/block", []);
  });
}
