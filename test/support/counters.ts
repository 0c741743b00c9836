import type pg from "pg";

/** The accounts whose counters are not what their counted rows are. */
export async function wrongCounters(sql: pg.Pool): Promise<Record<string, unknown>[]> {
  const { rows } = await sql.query(`
    SELECT username, follower_count, following_count, post_count FROM users
    WHERE follower_count <> (SELECT count(*) FROM follows WHERE following_id = users.id AND counted)
       OR following_count <> (SELECT count(*) FROM follows WHERE follower_id = users.id AND counted)
       OR post_count <> (SELECT count(*) FROM posts WHERE user_id = users.id AND status = 'published')`);
  return rows;
}
