import { createHash } from "node:crypto";
import type { Value } from "../../../src/bench/copy.ts";
import { drawer, Random, type Spread, shares } from "../../../src/bench/random.ts";

export interface DatasetOptions {
  /** Accounts that post, follow and are followed. */
  users: number;
  /** Whom each of them follows, on average. */
  following: number;
  /** How followers, posts and follows are parted among authors. */
  follows: Spread;
  posts: number;
  /** Of the authors with the most followers, how many are pulled on read instead of pushed. */
  celebrities: number;
  seed: number;
}

export interface TableRows {
  table: string;
  columns: string[];
  /** The same at each call. */
  rows(): Iterable<Value[]>;
}

/** A follower of so many authors of a kind that their feed has a thousand pages, if there are that many posts. */
export interface DeepViewer {
  name: "busy" | "average" | "rare";
  user: number;
}

/** Accounts are numbers here: those below `users` by rank, the one with the most followers and posts being 0. */
export interface Dataset {
  options: DatasetOptions;
  /** For TINTYPE_FEED_FANOUT_THRESHOLD: only the celebrities have as many followers. */
  threshold: number;
  deep: DeepViewer[];
  idOf(user: number): string;
  usernameOf(user: number): string;
  isPrivate(user: number): boolean;
  /** Of a session that the data set has. */
  tokenOf(user: number): string;
  follows(user: number, other: number): boolean;
  tables: TableRows[];
}

const DAY = 86_400_000;
/** All that is in a data set happened before, within a year, so that it is the same whenever it is made. */
const END = Date.UTC(2026, 0, 1);
const YEAR = 365 * DAY;
/** Posts that a feed of a thousand pages has, and some more. */
const DEEP_POSTS = 20_200;
const PAGES_DEEP = ["busy", "average", "rare"] as const;
/** One of so many accounts is private: whoever follows it is shown pictures by ticket. */
const PRIVATE_ONE_OF = 10;
const THUMBHASH = "XxcODQI0d3iAh3hweId3aHh4eAAAAAAA";

/** Makes a data set: the same rows for the same options. */
export function makeDataset(options: DatasetOptions): Dataset {
  const { users, posts, seed } = options;
  const random = new Random(seed);
  const accounts = users + PAGES_DEEP.length;
  const ids = Array.from({ length: accounts }, () => random.uuid(END - YEAR - random.below(YEAR)));
  const avatars = ids.map(() => random.uuid(END - YEAR));
  const privates = ids.map(() => random.below(PRIVATE_ONE_OF) === 0);
  const postCounts = shares(posts, users, options.follows);
  const deep = PAGES_DEEP.map((name, index) => ({ name, user: users + index }));
  const following = [
    ...drawFollows(options, random),
    ...deep.map(({ name }) => new Set(deepFollows(name, postCounts))),
  ];
  const followerCounts = new Array<number>(accounts).fill(0);
  for (const followed of following) {
    for (const author of followed) followerCounts[author] = (followerCounts[author] ?? 0) + 1;
  }
  const celebrities = byFollowers(followerCounts).slice(0, options.celebrities);
  const idOf = (user: number) => ids[user] ?? "";
  const usernameOf = (user: number) => `bench${user}`;
  const tokenOf = (user: number) => `tt_bench_${seed}_${user}`;
  const everybody = ids.map((_, user) => user);

  const tables: TableRows[] = [
    {
      table: "users",
      columns: [
        ...["id", "username", "email", "password_hash", "display_name", "is_private", "avatar_id"],
        ...["post_count", "follower_count", "following_count", "created_at"],
      ],
      rows: () =>
        everybody.map((user) => [
          ...[idOf(user), usernameOf(user), `${usernameOf(user)}@example.org`, "none", `Bench ${user}`],
          ...[privates[user] ?? false, avatars[user] ?? "", postCounts[user] ?? 0, followerCounts[user] ?? 0],
          ...[following[user]?.size ?? 0, new Date(END - YEAR)],
        ]),
    },
    {
      table: "sessions",
      columns: ["id", "user_id", "token_hash", "address"],
      rows: () => {
        const random = new Random(seed + 1);
        return everybody.map((user) => [random.uuid(END), idOf(user), sha256(tokenOf(user)), "127.0.0.1"]);
      },
    },
    {
      table: "follows",
      columns: ["follower_id", "following_id", "created_at"],
      *rows() {
        const random = new Random(seed + 2);
        for (const user of everybody) {
          for (const author of following[user] ?? []) {
            yield [idOf(user), idOf(author), new Date(END - random.below(YEAR))];
          }
        }
      },
    },
    ...postTables(postCounts, idOf, avatars, seed),
    {
      table: "pulled_authors",
      columns: ["user_id", "pulled_since"],
      rows: () => celebrities.map((user) => [idOf(user), new Date(END - YEAR)]),
    },
  ];
  return {
    options,
    threshold: thresholdFor(followerCounts, options.celebrities),
    deep,
    idOf,
    usernameOf,
    tokenOf,
    isPrivate: (user) => privates[user] ?? false,
    follows: (user, other) => following[user]?.has(other) ?? false,
    tables,
  };
}

/** By each account, whom it follows. */
function drawFollows({ users, following, follows }: DatasetOptions, random: Random): Set<number>[] {
  const draw = drawer(users, follows);
  const wanted = Math.min(following, Math.floor(users / 2));
  return Array.from({ length: users }, (_, user) => {
    const followed = new Set<number>();
    while (followed.size < wanted) {
      const author = draw(random);
      if (author !== user) followed.add(author);
    }
    return followed;
  });
}

/** Authors of neighbouring ranks whose posts fill the feed; all of them, if they are too few. */
function deepFollows(name: DeepViewer["name"], postCounts: readonly number[]): number[] {
  const ranks = postCounts.map((_, rank) => rank);
  const start = { busy: 0, average: Math.floor(postCounts.length / 100), rare: postCounts.length - 1 }[name];
  const order = name === "rare" ? ranks.reverse() : [...ranks.slice(start), ...ranks.slice(0, start)];
  let posts = 0;
  return order.filter((rank) => {
    const wanted = posts < DEEP_POSTS;
    if (wanted) posts += postCounts[rank] ?? 0;
    return wanted;
  });
}

/** In the order of time, as they are where people make them: one author's are spread over all of the table. */
function postTables(
  postCounts: readonly number[],
  idOf: (user: number) => string,
  avatars: readonly string[],
  seed: number,
): TableRows[] {
  const random = new Random(seed + 3);
  const authors = postCounts.flatMap((count, author) => new Array<number>(count).fill(author));
  const posts = authors
    .map((author) => ({ author, at: END - random.below(YEAR) }))
    .sort((a, b) => a.at - b.at)
    .map(({ author, at }) => ({ author, at, id: random.uuid(at - 5_000), medium: random.uuid(at - 5_000) }));
  const medium = (id: string, owner: number, purpose: string, at: number): Value[] => [
    ...[id, idOf(owner), purpose, "ready", "image/jpeg", 2_000_000, sha256(id), 4000, 3000, THUMBHASH],
    ...[new Date(at), new Date(at)],
  ];
  return [
    {
      table: "media",
      columns: [
        ...["id", "owner_id", "purpose", "state", "content_type", "bytes", "sha256", "width", "height", "thumbhash"],
        ...["created_at", "finished_at"],
      ],
      *rows() {
        for (const [user, avatar] of avatars.entries()) yield medium(avatar, user, "avatar", END - YEAR);
        for (const { author, at, medium: id } of posts) yield medium(id, author, "post", at);
      },
    },
    {
      table: "posts",
      columns: ["id", "user_id", "caption", "status", "created_at", "published_at"],
      *rows() {
        for (const { author, at, id } of posts) {
          const caption = `${"A caption of usual length. ".repeat(3)}#${author}`;
          yield [id, idOf(author), caption, "published", new Date(at - 5_000), new Date(at)];
        }
      },
    },
    {
      table: "post_media",
      columns: ["post_id", "position", "medium_id"],
      *rows() {
        for (const { id, medium } of posts) yield [id, 0, medium];
      },
    },
  ];
}

function byFollowers(counts: readonly number[]): number[] {
  return counts.map((_, user) => user).sort((a, b) => (counts[b] ?? 0) - (counts[a] ?? 0));
}

/** Above the followers of whoever comes after the celebrities. */
function thresholdFor(followerCounts: readonly number[], celebrities: number): number {
  const [next = 0] = byFollowers(followerCounts)
    .slice(celebrities)
    .map((user) => followerCounts[user] ?? 0);
  return next + 1;
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
