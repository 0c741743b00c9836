import t from "tap";
import { type DatasetOptions, makeDataset, type TableRows } from "./dataset.ts";

const OPTIONS: DatasetOptions = { users: 300, following: 20, follows: "zipf", posts: 2_000, celebrities: 3, seed: 7 };

const rowsOf = (tables: readonly TableRows[]) => tables.map(({ table, rows }) => ({ table, rows: [...rows()] }));

function columnsOf(tables: readonly TableRows[], table: string, ...columns: string[]): unknown[][] {
  const found = tables.find((one) => one.table === table);
  if (!found) throw new Error(`no table ${table}`);
  return [...found.rows()].map((row) => columns.map((column) => row[found.columns.indexOf(column)]));
}

function countBy(values: readonly unknown[]): Map<unknown, number> {
  const counts = new Map<unknown, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

t.test("the same seed makes the same rows, another one others", async (t) => {
  const { tables } = makeDataset(OPTIONS);
  t.same(rowsOf(makeDataset(OPTIONS).tables), rowsOf(tables));
  t.same(rowsOf(tables), rowsOf(tables), "however often they are asked for");
  const others = rowsOf(makeDataset({ ...OPTIONS, seed: 8 }).tables);
  for (const [index, { table, rows }] of rowsOf(tables).entries())
    t.not(String(others[index]?.rows), String(rows), table);
});

t.test("rows refer to rows, and counts are theirs", async (t) => {
  const { tables } = makeDataset(OPTIONS);
  const users = columnsOf(tables, "users", "id", "post_count", "follower_count", "following_count", "avatar_id");
  const [follows, posts] = [
    columnsOf(tables, "follows", "follower_id", "following_id"),
    columnsOf(tables, "posts", "id", "user_id"),
  ];
  const [following, followers, posted] = [
    countBy(follows.map(([follower]) => follower)),
    countBy(follows.map(([, followed]) => followed)),
    countBy(posts.map(([, author]) => author)),
  ];
  t.same(
    users.map((row) => row.slice(1, 4)),
    users.map(([id]) => [posted, followers, following].map((counts) => counts.get(id) ?? 0)),
  );
  t.equal(posts.length, OPTIONS.posts);
  t.equal(new Set(follows.map(String)).size, follows.length, "nobody follows anybody twice");
  t.notOk(follows.some(([follower, followed]) => follower === followed));
  const media = new Set(columnsOf(tables, "media", "id").flat());
  for (const [medium] of columnsOf(tables, "post_media", "medium_id"))
    if (!media.has(medium)) t.fail("a medium is missing");
  for (const [, , , , avatar] of users) if (!media.has(avatar)) t.fail("an avatar is missing");
});

t.test("only the celebrities have as many followers as the threshold says", async (t) => {
  for (const celebrities of [0, 3]) {
    const { tables, threshold } = makeDataset({ ...OPTIONS, celebrities });
    const above = columnsOf(tables, "users", "id", "follower_count").filter(([, count]) => Number(count) >= threshold);
    t.same(
      new Set(above.map(([id]) => id)),
      new Set(columnsOf(tables, "pulled_authors", "user_id").flat()),
      `${celebrities} celebrities`,
    );
    t.equal(above.length, celebrities);
  }
});

t.test("by Zipf's law few have most, evenly all have about the same", async (t) => {
  const mostOf = (follows: DatasetOptions["follows"]) =>
    Math.max(
      ...columnsOf(makeDataset({ ...OPTIONS, follows }).tables, "users", "post_count")
        .flat()
        .map(Number),
    );
  t.equal(mostOf("even"), Math.ceil(OPTIONS.posts / OPTIONS.users));
  t.ok(mostOf("zipf") > 20 * mostOf("even"));
});
