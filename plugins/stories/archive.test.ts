/** What keeps a story, against what publishes it, takes it away and ends it, all at once on connections of their own. */
import { sql } from "kysely";
import pg from "pg";
import t from "tap";
import { inTransaction } from "../../src/db/transaction.ts";
import { HttpError } from "../../src/http/errors.ts";
import { testDatabase } from "../../test/support/database.ts";
import { load } from "../../test/support/product/config.ts";
import { openDb } from "../../test/support/product/database.ts";
import { newAccount, uploadStory } from "../../test/support/product/stories.ts";
import { waitFor } from "../../test/support/server.ts";
import { lockAccounts } from "../accounts/index.ts";
import { changeStoryPreferences, storyPreferences } from "./archive.ts";
import { listArchive } from "./archive-store.ts";
import { cleanUp } from "./cleanup.ts";
import { addToHighlight, createHighlight, takeFromHighlight } from "./highlights.ts";
import { removeStory, settleStory } from "./stories.ts";

const { url } = await testDatabase(t);
const [db, other] = [openDb(t, url), openDb(t, url)];
const { config } = load({ env: { TINTYPE_STORIES_LIFETIME: "1h" } });
const context = {
  config,
  db,
  emit: async () => undefined,
  enqueue: async () => undefined,
  enqueueAll: async () => undefined,
};
const ROUNDS = 15;

const ana = await newAccount(db);

const settle = (medium: string) => inTransaction(other, (tx) => settleStory(tx, context, medium, null));

async function published(): Promise<string> {
  const { id, medium } = await uploadStory(db, ana, "everyone");
  await settle(medium);
  return id;
}

async function stateOf(id: string): Promise<{ status: string; kept: boolean; highlighted: boolean } | undefined> {
  const { rows } = await sql<{ status: string; kept: boolean; highlighted: boolean }>`
    SELECT status, kept, EXISTS (SELECT FROM highlight_stories WHERE story_id = stories.id) AS highlighted
    FROM stories WHERE id = ${id}`.execute(db);
  return rows[0];
}

const waiting = (others: number) => async () => {
  const { rows } = await sql`
    SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`.execute(db);
  return rows.length >= others;
};

/** Holds the account until this is called, with so many others that wait for locks. */
async function holdAccount(): Promise<(waiting: number) => Promise<void>> {
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const { promise: held, resolve: hold } = Promise.withResolvers<void>();
  const holding = inTransaction(db, async (tx) => {
    await lockAccounts(tx, [ana]);
    hold();
    await released;
  });
  await held;
  return async (others) => {
    await waitFor(waiting(others), "the others to wait");
    release();
    await holding;
  };
}

/** What an attempt came to: a 404 is one, anything else that is thrown fails the test. */
async function foundOrNot(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (error instanceof HttpError && error.code === "STORY_NOT_FOUND") return false;
    throw error;
  }
}

const cleanNow = () => cleanUp({ ...context, db: other }, { grace: 0, signal: new AbortController().signal });

t.test("a story that is published while the setting changes is kept as the setting says", async (t) => {
  for (let round = 0; round < ROUNDS; round++) {
    const keep_archive = round % 2 === 0;
    const story = await uploadStory(db, ana, "everyone");
    const release = round < 4 ? await holdAccount() : null;
    const first = round % 4 < 2 ? settle(story.medium) : changeStoryPreferences(db, ana, { keep_archive });
    const second = round % 4 < 2 ? changeStoryPreferences(db, ana, { keep_archive }) : settle(story.medium);
    await release?.(2);
    await Promise.all([first, second]);
    t.strictSame(await storyPreferences(db, ana), { keep_archive });
    t.match(await stateOf(story.id), { status: "published", kept: keep_archive });
  }
});

t.test("one that is put into a highlight while the setting is turned off stays kept", async (t) => {
  const { id: highlight } = await createHighlight(context, ana, { title: "all", story_ids: [] });
  for (let round = 0; round < ROUNDS; round++) {
    await changeStoryPreferences(db, ana, { keep_archive: true });
    const [story, apart] = [await published(), await published()];
    const release = round < 3 ? await holdAccount() : null;
    const turnedOff = changeStoryPreferences(db, ana, { keep_archive: false });
    const added = addToHighlight(other, ana, highlight, story);
    const made = createHighlight({ ...context, db: other }, ana, { title: "one", story_ids: [story] });
    await release?.(1);
    await Promise.all([turnedOff, added, made]);
    t.match(await stateOf(story), { kept: true, highlighted: true });
    t.match(await stateOf(apart), { kept: false, highlighted: false });
    await sql`DELETE FROM highlights WHERE title = 'one'`.execute(db);
  }
  const story = await published();
  await addToHighlight(db, ana, highlight, story);
  await takeFromHighlight(db, ana, highlight, story);
  for (const keep_archive of [false, true, false]) await changeStoryPreferences(db, ana, { keep_archive });
  t.match(await stateOf(story), { kept: true, highlighted: false }, "also when it is taken out again");
});

t.test("the setting never waits for a story behind the account", async (t) => {
  await changeStoryPreferences(db, ana, { keep_archive: false });
  const story = await uploadStory(db, ana, "everyone");
  const release = await holdAccount();
  const settling = settle(story.medium);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  t.teardown(() => client.end());
  await client.query("BEGIN");
  await waitFor(waiting(1), "the account");
  // As a removal: the story, then the account.
  const taken = client.query("SELECT FROM stories WHERE id = $1 FOR UPDATE", [story.id]);
  await waitFor(waiting(2), "the story");
  const changed = changeStoryPreferences(db, ana, { keep_archive: true });
  await release(3);
  await Promise.all([settling, taken]);
  await waitFor(async () => {
    const { rowCount } = await client.query(
      "SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))",
    );
    return rowCount === 1;
  }, "the change to wait for the story");
  await t.resolves(client.query("SELECT FROM users WHERE id = $1 FOR UPDATE NOWAIT", [ana]), "the account is free");
  await client.query("COMMIT");
  t.strictSame(await changed, { keep_archive: true });
  t.match(await stateOf(story.id), { status: "published", kept: true });
});

t.test("a story that ends is kept by whoever came before its end, and else gone for good", async (t) => {
  await changeStoryPreferences(db, ana, { keep_archive: false });
  const { id: highlight } = await createHighlight(context, ana, { title: "last", story_ids: [] });
  const outcomes = new Set<boolean>();
  for (let round = 0; round < 2 * ROUNDS; round++) {
    const story = await published();
    const rest = round % 5;
    await sql`UPDATE stories SET expires_at = clock_timestamp() + ${rest} * interval '2 milliseconds' WHERE id = ${story}`.execute(
      db,
    );
    const [added] = await Promise.all([foundOrNot(addToHighlight(db, ana, highlight, story)), cleanNow(), cleanNow()]);
    outcomes.add(added);
    await sql`SELECT pg_sleep(0.01)`.execute(db);
    await changeStoryPreferences(db, ana, { keep_archive: true });
    await changeStoryPreferences(db, ana, { keep_archive: false });
    const archived = (await listArchive(db, ana, { limit: 100, after: null })).some(({ id }) => id === story);
    t.equal(archived, added, "what was over does not come back");
    await cleanNow();
    const state = await stateOf(story);
    if (added) t.strictSame(state, { status: "published", kept: true, highlighted: true });
    else t.equal(state, undefined);
    await sql`DELETE FROM highlight_stories`.execute(db);
    await sql`DELETE FROM stories`.execute(db);
  }
  t.strictSame(outcomes, new Set([true, false]), "both happened");
});

t.test("a story that is deleted while it is put into a highlight is in none", async (t) => {
  const { id: highlight } = await createHighlight(context, ana, { title: "deleted", story_ids: [] });
  for (let round = 0; round < ROUNDS; round++) {
    const story = await published();
    await Promise.all([
      foundOrNot(addToHighlight(other, ana, highlight, story)),
      foundOrNot(createHighlight(context, ana, { title: "deleted", story_ids: [story] })),
      removeStory(context, ana, story),
    ]);
    t.match(await stateOf(story), { status: "removed" });
    t.equal(await foundOrNot(addToHighlight(db, ana, highlight, story)), false);
  }
});
