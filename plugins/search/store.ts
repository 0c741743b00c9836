import { type RawBuilder, sql } from "kysely";
import type { Db } from "../../src/db/transaction.ts";
import type { RankedPosition } from "../../src/http/paging.ts";
import { USER_COLUMNS, type UserRow } from "../accounts/index.ts";
import { mayBeListedFor, type Relationship, relationshipTo } from "../graph/index.ts";

/** What was typed, as names are folded: whole for user names, and as words with one space between them. */
export interface FoldedQuery {
  name: string;
  words: string;
}

export type FoundPerson = UserRow & RankedPosition & { relationship: Relationship };

export type SuggestedPerson = FoundPerson & { followed_by_count: number };

interface PageRequest {
  limit: number;
  after: RankedPosition | null;
}

/** Of the followed, the latest: looking through one costs a descent of users_pkey and folding the names. */
const FOLLOWED_LOOKED_THROUGH = 2_000;
/** From each of the orders in which others are found. */
const FOUND_BY_EACH = 100;
/** Words from which a display name is found by prefix; further ones are found by spelling. */
const WORDS_BY_PREFIX = [1, 2, 3, 4] as const;
/** Words of a query that are looked for by spelling. */
const WORDS_BY_SPELLING = 4;
/** Of those whose words before the last are spelt nearly so: as many are asked for the beginning of the last. */
const SPELT_LOOKED_THROUGH = 1_000;
/** Of 1,000: a followed account that is less like the query is not shown for it. */
const SIMILAR = 350;

/** The folding is Postgres' own, the same function that its indexes were made with. */
export async function fold(db: Db, typed: string): Promise<FoldedQuery> {
  const { rows } = await sql<FoldedQuery>`
    SELECT btrim(search_fold(${typed})) AS name, search_words(${typed}) AS words`.execute(db);
  return rows[0] ?? { name: "", words: "" };
}

/**
 * Candidates are taken from a few short lists, each bounded, whatever the number of accounts: those followed who match,
 * the first by user name, the first by each word of the display name, and some whose words are spelt nearly so. Only they
 * are ranked: the followed, then the one of exactly that user name, then those of whom a word begins so, then by
 * similarity. Hence a search shows so many and no more, and a letter that begins a hundred thousand names costs as much
 * as any: of 1,000,000 accounts up to 2,200 buffers, and 4 more for each followed account that is looked through.
 *
 * What lost for the spelling: the trigram index of pg_trgm, which ranks here but does not find. All who share enough
 * trigrams must be read before the best is known, and most do not pass: 2,700 buffers and 111 ms for one name at 1,000,000
 * accounts, with no bound on a query that nothing matches. Spellings with a letter left out are exact keys of a GIN
 * index, which gives no false ones. Plans: docs/people-plans.md.
 */
export async function findPeople(
  db: Db,
  viewerId: string,
  { name, words }: FoldedQuery,
  { limit, after }: PageRequest,
): Promise<FoundPerson[]> {
  const listed = mayBeListedFor(viewerId);
  const searched = sql`search_text(username, display_name)`;
  const begins = sql<boolean>`(username ^@ ${name} OR (${words} <> '' AND strpos(${searched}, ' ' || ${words}) > 0))`;
  const first = (column: RawBuilder<unknown>, prefix: string) => sql`
    (SELECT id FROM users
     WHERE ${column} COLLATE "C" >= ${prefix} AND ${column} COLLATE "C" < ${prefix} || U&'\\+10FFFF' AND ${listed}
     ORDER BY ${column} COLLATE "C", id LIMIT ${FOUND_BY_EACH})`;
  const candidates = [
    sql`(SELECT id FROM followed JOIN users USING (id)
         WHERE ${listed} AND (${begins} OR search_similarity(${words}, ${searched}) >= ${SIMILAR}))`,
    first(sql`username`, name),
    ...(words === ""
      ? []
      : WORDS_BY_PREFIX.map((nth) => first(sql`search_tail(display_name, ${sql.lit(nth)})`, words))),
    ...spelling(words, listed),
  ];
  const { rows } = await sql<FoundPerson>`
    WITH followed AS MATERIALIZED (
      SELECT following_id AS id FROM follows WHERE follower_id = ${viewerId}
      ORDER BY created_at DESC, following_id DESC LIMIT ${FOLLOWED_LOOKED_THROUGH}
    ), candidates AS MATERIALIZED (
      ${sql.join(candidates, sql` UNION `)}
    ), ranked AS MATERIALIZED (
      SELECT id, search_similarity(${words}, ${searched})
        + CASE WHEN username = ${name} THEN 4000 WHEN ${begins} THEN 2000 ELSE 0 END
        + CASE WHEN EXISTS (SELECT FROM follows WHERE follower_id = ${viewerId} AND following_id = id) THEN 8000 ELSE 0 END AS rank
      FROM candidates JOIN users USING (id)
    )
    SELECT ${columns}, rank, ${relationshipTo(viewerId)} AS relationship
    FROM (SELECT id, rank FROM ranked ${below(after)} ORDER BY rank DESC, id DESC LIMIT ${limit}) AS page
    JOIN users USING (id) ORDER BY rank DESC, id DESC`.execute(db);
  return rows;
}

/**
 * Those of whom every longer word of the query is spelt as in an account's names, but for one letter; and, as the last one
 * may not be typed to its end, those of whom the words before it are and a word begins with it.
 *
 * Which hundred, of more, is as they lie in the table, so that a page may miss somebody whose row was moved since the page
 * before. To take the first by id means to read them all: of 200,000 accounts 4,500 buffers for a common name, not 48.
 */
function spelling(words: string, listed: RawBuilder<boolean>): RawBuilder<unknown>[] {
  const typed = words.split(" ");
  const begun = typed.at(-1) ?? "";
  const all = spelt(typed);
  const before = spelt(typed.slice(0, -1));
  return [
    ...(all ? [sql`(SELECT id FROM users WHERE ${all} AND ${listed} LIMIT ${FOUND_BY_EACH})`] : []),
    // Only so many are looked through: OFFSET 0 keeps the condition that no index knows out of the subquery.
    ...(before
      ? [
          sql`(SELECT id FROM (SELECT * FROM users WHERE ${before} AND ${listed} LIMIT ${SPELT_LOOKED_THROUGH}) AS spelt
               WHERE strpos(search_text(username, display_name), ' ' || ${begun}) > 0 LIMIT ${FOUND_BY_EACH})`,
        ]
      : []),
  ];
}

/** The condition that an account has all of these words but for one letter each; null when they are all too short for it. */
function spelt(words: readonly string[]): RawBuilder<boolean> | null {
  const keys = words
    .filter((word) => [...word].length >= 3)
    .slice(0, WORDS_BY_SPELLING)
    .map((word) => sql`search_keys(search_text(username, display_name)) && search_keys(${word})`);
  return keys.length === 0 ? null : sql<boolean>`(${sql.join(keys, sql` AND `)})`;
}

/** Of the followed, the latest that are asked whether they vanished. */
const FOLLOWED_ASKED = 2_000;
/** Whose follows are counted: the latest the viewer follows, or the newest accounts; and how many follows of each. */
const LOOKED_AT = 200;
const FOLLOWS_OF_EACH = 200;

/**
 * One page of those whom the people followed by the viewer follow, most often followed first. Nothing is told that
 * the viewer may not see: the follows of an account that hides its lists do not count. Where that is nobody, as for who
 * follows nobody, it is the most followed among the newest accounts and whom those follow: on a small server that is
 * everybody, and on a large one a sample that knows who is popular now. An index by follower_count would be exact, and
 * would put every follow of a popular account into that index and out of heap-only updates.
 *
 * Whether the viewer is shown an account is asked one by one, and in the order of a page until it is full: of 40,000 who
 * were counted that is a page, and how many have vanished from the whole server does not matter.
 */
export async function suggestPeople(
  db: Db,
  viewerId: string,
  { limit, after }: PageRequest,
): Promise<SuggestedPerson[]> {
  const listed = mayBeListedFor(viewerId);
  // OFFSET 0 keeps it a lookup for each, by id: as a join, a plan might read all accounts that have not vanished.
  const user = (id: string) =>
    sql`LATERAL (SELECT * FROM users WHERE users.id = ${sql.ref(id)} AND ${listed} OFFSET 0) AS users`;
  const followsOf = (lists: RawBuilder<unknown>) => sql`
    (SELECT theirs.id, 1 AS follows FROM ${lists} AS list CROSS JOIN LATERAL (
       SELECT following_id AS id FROM follows WHERE follower_id = list.id
       ORDER BY created_at DESC, following_id DESC LIMIT ${FOLLOWS_OF_EACH}
     ) AS theirs)`;
  const { rows } = await sql<SuggestedPerson>`
    WITH known AS MATERIALIZED (
      SELECT ${viewerId}::uuid AS id
      UNION ALL SELECT following_id FROM follows WHERE follower_id = ${viewerId}
      UNION ALL SELECT following_id FROM follow_requests WHERE follower_id = ${viewerId}
      UNION ALL SELECT muted_id FROM mutes WHERE muter_id = ${viewerId}
      UNION ALL SELECT blocked_id FROM blocks WHERE blocker_id = ${viewerId}
    ), followed AS MATERIALIZED (
      SELECT users.id FROM (
        SELECT following_id, created_at AS since FROM follows WHERE follower_id = ${viewerId}
        ORDER BY created_at DESC, following_id DESC LIMIT ${FOLLOWED_ASKED}
      ) AS latest CROSS JOIN ${user("latest.following_id")}
      ORDER BY since DESC, following_id DESC LIMIT ${LOOKED_AT}
    ), theirs AS MATERIALIZED (
      SELECT id, count(*)::integer AS follows FROM ${followsOf(sql`followed`)} AS found
      WHERE NOT EXISTS (SELECT FROM known WHERE known.id = found.id) GROUP BY id
    ), newest AS MATERIALIZED (
      SELECT id, is_private FROM users
      WHERE ${listed} AND NOT EXISTS (SELECT FROM theirs CROSS JOIN ${user("theirs.id")})
      ORDER BY created_at DESC, id DESC LIMIT ${LOOKED_AT}
    ), popular AS MATERIALIZED (
      SELECT users.id, follower_count FROM (
        SELECT id, sum(follows) AS follows
        FROM (${followsOf(sql`(SELECT id FROM newest WHERE NOT is_private)`)} UNION ALL SELECT id, 0 FROM newest) AS found
        WHERE NOT EXISTS (SELECT FROM known WHERE known.id = found.id) GROUP BY id ORDER BY follows DESC, id DESC
      ) AS most CROSS JOIN ${user("most.id")}
      ORDER BY follows DESC, most.id DESC LIMIT ${LOOKED_AT}
    ), ranked AS (
      SELECT id, follows AS rank, follows AS followed_by_count FROM theirs
      UNION ALL SELECT id, follower_count, 0 FROM popular
    )
    SELECT ${columns}, rank, followed_by_count, ${relationshipTo(viewerId)} AS relationship
    FROM (SELECT id AS ranked_id, rank, followed_by_count FROM ranked ${below(after)} ORDER BY rank DESC, id DESC) AS page
    CROSS JOIN ${user("page.ranked_id")}
    ORDER BY rank DESC, ranked_id DESC LIMIT ${limit}`.execute(db);
  return rows;
}

const columns = sql.join(USER_COLUMNS.map((name) => sql.ref(name)));

function below(after: RankedPosition | null): RawBuilder<unknown> {
  return after ? sql`WHERE (rank, id) < (${after.rank}::integer, ${after.id}::uuid)` : sql``;
}
