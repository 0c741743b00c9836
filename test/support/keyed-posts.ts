import pg from "pg";
import type { Test } from "tap";
import { type Answer, type Client, postForm } from "./client.ts";
import { testDatabase } from "./database.ts";
import { picture } from "./pictures.ts";
import { startServer, temporaryFolder, waitFor } from "./server.ts";

const photo = await picture({ width: 64, height: 64 });

/** A database and a data dir for several servers, and what they made of each key: a post has its key as its caption. */
export async function keyedPosts(t: Test) {
  const { url } = await testDatabase(t);
  const sql = new pg.Pool({ connectionString: url, max: 3 });
  t.teardown(() => sql.end());
  const env = {
    TINTYPE_DATABASE_URL: url,
    TINTYPE_DATA_DIR: await temporaryFolder(t),
    TINTYPE_WORKER_EMBEDDED: "false",
  };
  const open = async (settings: Record<string, string> = {}) => {
    const server = await startServer({ ...env, ...settings });
    t.teardown(() => server.kill());
    return server;
  };
  const posts = async (key: string) =>
    (await sql.query("SELECT id FROM posts WHERE caption = $1", [key])).rows.map(({ id }) => String(id));
  return { url, sql, open, posts };
}

/** Posts with a key, which is the caption too. */
export const sendPost = (client: Client, key: string, signal?: AbortSignal) =>
  client.request("POST", "/posts", {
    form: postForm([photo], key),
    headers: { "idempotency-key": key },
    ...(signal ? { signal } : {}),
  });
export const isReplay = ({ headers }: Answer) => headers.get("idempotent-replayed") === "true";

/** Sends until there is an answer that says how it ended, as a client would. */
export function untilAnswered(clientOf: () => Client, key: string): Promise<Answer> {
  return waitFor(async () => {
    const answer = await sendPost(clientOf(), key, AbortSignal.timeout(20_000)).catch(() => null);
    return answer !== null && answer.status !== 409 && answer.status < 500 && answer;
  }, `an answer for ${key}`);
}
