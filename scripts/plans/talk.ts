import type pg from "pg";
import { fillDatabase } from "./dataset.ts";

const ACCOUNTS = 100_000;
const POSTS = 250_000;
const COMMENTS = 1_000_000;
/** Comments of the busiest post, and replies to the busiest comment: so many of a hundred. */
const BUSIEST = 10;
const TAGS = 50_000;
const TAGS_OF_EACH_POST = 4;
/** Whom the viewer `blocker` blocks; and suspended accounts, which wrote the latest of one post and of one hashtag. */
const BLOCKED = 1_000;
const SUSPENDED = 2_000;

export interface Talk {
  viewers: { nobody: string; blocker: string };
  posts: { busiest: string; spammed: string; usual: string };
  /** The comment with the most replies. */
  comment: string;
  /** Hashtags: the commonest, one of the middle, and the one whose latest posts are of suspended accounts. */
  tags: { first: string; middle: string; spammed: string };
  /** How many there are. */
  counts: { accounts: number; comments: number; roots: number; replies: number; postTags: number; ofFirstTag: number };
}

/** Fills an empty, migrated database with comments and hashtags. Takes a minute or two. */
export async function loadTalk(pool: pg.Pool): Promise<Talk> {
  return fillDatabase(pool, { statements: STATEMENTS, tables: TABLES }, describe);
}

const TABLES = ["users", "blocks", "posts", "comments", "comment_likes", "post_tags", "tags"];

const STATEMENTS = [
  `INSERT INTO users (id, username, email, password_hash, display_name, is_private)
   SELECT uuidv7(), 'user' || n, 'user' || n || '@example.org', 'none', 'User ' || n, n % 10 = 0 FROM generate_series(1, ${ACCOUNTS}) AS n`,
  `INSERT INTO users (id, username, email, password_hash, state)
   SELECT uuidv7(), 'spam' || n, 'spam' || n || '@example.org', 'none', 'suspended' FROM generate_series(1, ${SUSPENDED}) AS n`,
  `INSERT INTO users (id, username, email, password_hash)
   SELECT uuidv7(), name, name || '@example.org', 'none' FROM unnest('{nobody,blocker}'::text[]) AS name`,
  `CREATE TEMP TABLE people AS
   SELECT row_number() OVER (ORDER BY random())::int AS n, id, is_private FROM users WHERE username ~ '^user'`,
  "CREATE UNIQUE INDEX ON people (n)",
  "CREATE TEMP TABLE spammers AS SELECT row_number() OVER ()::int AS n, id FROM users WHERE state = 'suspended'",
  `INSERT INTO blocks (blocker_id, blocked_id)
   SELECT users.id, people.id FROM users, people WHERE username = 'blocker' AND n <= ${BLOCKED}`,
  `INSERT INTO posts (id, user_id, caption, status, published_at)
   SELECT uuidv7(), id, 'A caption of usual length', 'published', now() - (${POSTS} - drawn.n + 10) * interval '1 minute'
   FROM (SELECT n, 1 + floor(random() * ${ACCOUNTS})::int AS author FROM generate_series(1, ${POSTS}) AS n OFFSET 0) AS drawn
   JOIN people ON people.n = author ORDER BY drawn.n`,
  `CREATE TEMP TABLE ranked AS
   SELECT row_number() OVER (ORDER BY random())::int AS n, posts.id FROM posts JOIN people ON people.id = user_id AND NOT is_private`,
  "CREATE UNIQUE INDEX ON ranked (n)",
  `INSERT INTO comments (id, post_id, user_id, text, created_at)
   SELECT uuidv7(), ranked.id, people.id, 'with many replies', now() - interval '30 days' FROM ranked, people WHERE ranked.n = 2 AND people.n = 2000`,
  // In the order of time, as people write them: those of one post are spread over the table.
  `INSERT INTO comments (id, post_id, parent_id, user_id, text, created_at)
   SELECT uuidv7(), ranked.id, CASE WHEN ranked.n = 2 THEN (SELECT id FROM comments WHERE text = 'with many replies') END,
     people.id, repeat('What a comment says. ', 3), now() - (${COMMENTS} - drawn.n + 10000) * interval '2 seconds'
   FROM (
     SELECT n, CASE WHEN n % 100 < ${BUSIEST} THEN 1 WHEN n % 100 < ${2 * BUSIEST} THEN 2
         ELSE 3 + exp(random() * ln(200000))::int END AS post,
       1 + floor(random() * ${ACCOUNTS})::int AS author
     FROM generate_series(1, ${COMMENTS}) AS n OFFSET 0
   ) AS drawn JOIN ranked ON ranked.n = post JOIN people ON people.n = author ORDER BY drawn.n`,
  `INSERT INTO comments (id, post_id, user_id, text, created_at)
   SELECT uuidv7(), ranked.id, spammers.id, 'Cheap offer', now() - interval '1 hour' + spammers.n * interval '1 second'
   FROM ranked, spammers WHERE ranked.n = 3`,
  `UPDATE comments SET reply_count = (SELECT count(*) FROM comments AS reply WHERE reply.parent_id = comments.id)
   WHERE text = 'with many replies'`,
  `INSERT INTO comment_likes (comment_id, user_id)
   SELECT comments.id, users.id FROM comments, users WHERE username = 'nobody' AND right(comments.id::text, 1) = '0'`,
  // Letters of which each begins as many as any other; which is common says nothing about how it is spelt.
  `CREATE TEMP TABLE names AS SELECT n, left(translate(md5(n::text), '0123456789', 'ghijklmnop'), 9) AS tag FROM generate_series(1, ${TAGS}) AS n`,
  "CREATE UNIQUE INDEX ON names (n)",
  `INSERT INTO post_tags (author_id, post_id, tag, published_at)
   SELECT user_id, drawn.id, tag, published_at
   FROM (SELECT posts.*, exp(random() * ln(${TAGS}))::int AS rank FROM posts, generate_series(1, ${TAGS_OF_EACH_POST}) AS nth OFFSET 0) AS drawn
   JOIN names ON names.n = rank ORDER BY published_at ON CONFLICT DO NOTHING`,
  `INSERT INTO post_tags (author_id, post_id, tag, published_at)
   SELECT user_id, id, 'spammed', published_at FROM posts ORDER BY published_at DESC LIMIT 200`,
  "INSERT INTO post_tags (author_id, post_id, tag, published_at) SELECT id, uuidv7(), 'spammed', now() FROM spammers",
  "INSERT INTO tags (tag, uses) SELECT tag, count(*) FROM post_tags GROUP BY tag",
];

async function describe(client: pg.ClientBase): Promise<Talk> {
  const one = async <Value>(text: string): Promise<Value> => {
    const row = (await client.query<{ value: Value }>(`SELECT (${text}) AS value`)).rows[0];
    if (row?.value == null) throw new Error(`nothing came of ${text}`);
    return row.value;
  };
  const user = (name: string) => one<string>(`SELECT id FROM users WHERE username = '${name}'`);
  const post = (rank: number) => one<string>(`SELECT id FROM ranked WHERE n = ${rank}`);
  const tag = (rank: number) => one<string>(`SELECT tag FROM names WHERE n = ${rank}`);
  const count = (from: string) => one<number>(`SELECT count(*)::int FROM ${from}`);
  const [busiest, comment, first] = [
    await post(1),
    await one<string>("SELECT id FROM comments WHERE text = 'with many replies'"),
    await tag(1),
  ];
  return {
    viewers: { nobody: await user("nobody"), blocker: await user("blocker") },
    posts: { busiest, spammed: await post(3), usual: await post(20_000) },
    comment,
    tags: { first, middle: await tag(1_000), spammed: "spammed" },
    counts: {
      accounts: await count("users"),
      comments: await count("comments"),
      roots: await count(`comments WHERE post_id = '${busiest}'`),
      replies: await count(`comments WHERE parent_id = '${comment}'`),
      postTags: await count("post_tags"),
      ofFirstTag: await count(`post_tags WHERE tag = '${first}'`),
    },
  };
}
