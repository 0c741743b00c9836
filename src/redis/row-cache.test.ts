import { sql } from "kysely";
import t from "tap";
import { testDatabase } from "../../test/support/database.ts";
import { query } from "../../test/support/product/database.ts";
import { openCaching } from "../../test/support/product/redis.ts";
import { waitFor } from "../../test/support/server.ts";
import { redisService } from "../../test/support/services.ts";
import { PG_SNAPSHOT } from "../db/snapshot.ts";
import { type Db, inTransaction } from "../db/transaction.ts";
import { type Loaded, RowCache } from "./row-cache.ts";

declare module "../notices.ts" {
  interface NoticeTopics {
    "test.word": "id";
  }
}

interface Word {
  id: string;
  word: string;
}

const service = await redisService(t);
if (!service) process.exit();
const { url } = await testDatabase(t);
await query(url, "CREATE TABLE words (id uuid PRIMARY KEY, word text NOT NULL)");
const id = "0198f0a4-0000-7000-8000-000000000001";
await query(url, "INSERT INTO words VALUES ($1, 'first')", [id]);

/** Of each process how often Postgres has answered, and what a load waits for before it does. */
const process1 = { ...(await openCaching(t, url, service)), loads: 0, hold: Promise.resolve() };
const process2 = { ...(await openCaching(t, url, service)), loads: 0, hold: Promise.resolve() };
const [one, other] = [process1, process2].map(
  (context) =>
    new RowCache<Word, Word>(context, {
      name: "word",
      topic: "test.word",
      ttl: 60,
      most: 10,
      thaw: (word) => word,
      async load(db: Db, ids): Promise<Loaded<Word>> {
        const { rows } = await sql<Word & { snapshot: string }>`
          SELECT ${PG_SNAPSHOT} AS snapshot, id, word FROM words WHERE id = ANY(${ids}::uuid[])`.execute(db);
        context.loads++;
        await context.hold;
        return { snapshot: rows[0]?.snapshot ?? "", rows: new Map(rows.map((row) => [row.id, row])) };
      },
    }),
) as [RowCache<Word, Word>, RowCache<Word, Word>];

const noWords: Loaded<Word> = { snapshot: "", rows: new Map() };

const wordOf = async (cache: RowCache<Word, Word>) => (await cache.get([id])).get(id)?.word;

async function change(word: string, between = async () => {}): Promise<void> {
  await inTransaction(process1.db, async (tx) => {
    await sql`UPDATE words SET word = ${word} WHERE id = ${id}`.execute(tx);
    await one.drop(tx, id);
    await between();
  });
  one.forget(id);
}

t.test("Postgres is asked once for all processes", async (t) => {
  t.equal(await wordOf(one), "first");
  t.equal(await wordOf(other), "first");
  t.equal(await wordOf(one), "first");
  t.same([process1.loads, process2.loads], [1, 0]);
  t.equal((await one.get(["0198f0a4-0000-7000-8000-000000000002"])).size, 0);
  t.equal((await one.get([])).size, 0);
});

t.test("a change shows at once in its own process, and soon in others", async (t) => {
  await change("second");
  t.equal(await wordOf(one), "second");
  await waitFor(async () => (await wordOf(other)) === "second", "the other process to know");
});

t.test("who reads while a change is under way keeps nothing of before", async (t) => {
  await change("third", async () => {
    t.equal(await wordOf(other), "second", "it is not committed yet");
  });
  t.equal(await wordOf(one), "third", "and not what the other one read");
  await waitFor(async () => (await wordOf(other)) === "third", "the other process to know");
});

t.test("a read that was under way when the change came is kept nowhere", async (t) => {
  (await service) && process1.redis.client().del(process1.redis.key("word", id));
  other.forget(id);
  const hold = Promise.withResolvers<void>();
  process2.hold = hold.promise;
  const loads = process2.loads;
  const reading = wordOf(other);
  await waitFor(async () => process2.loads > loads, "the other process to read");
  await change("fourth");
  hold.resolve();
  t.equal(await reading, "third", "it asked before");
  t.equal(await wordOf(one), "fourth");
  await waitFor(async () => (await wordOf(other)) === "fourth", "the other process to know");
});

t.test("what is deleted is not found", async (t) => {
  await inTransaction(process1.db, async (tx) => {
    await sql`DELETE FROM words WHERE id = ${id}`.execute(tx);
    await one.drop(tx, id);
  });
  one.forget(id);
  t.equal(await wordOf(one), undefined);
  await waitFor(async () => (await wordOf(other)) === undefined, "the other process to know");
});

t.test("who changes a row without Redis is heard by those who have one", async (t) => {
  await query(url, "INSERT INTO words VALUES ($1, 'fifth')", [id]);
  t.equal(await wordOf(one), "fifth");
  const without = new RowCache<Word, Word>(
    { ...process2, redis: null },
    { name: "word", topic: "test.word", ttl: 60, most: 10, thaw: (word) => word, load: async () => noWords },
  );
  await inTransaction(process2.db, async (tx) => {
    await sql`UPDATE words SET word = 'sixth' WHERE id = ${id}`.execute(tx);
    await without.drop(tx, id);
  });
  await waitFor(async () => (await wordOf(one)) === "sixth", "the process with Redis to know");
});
