import * as fc from "fast-check";
import { sql } from "kysely";
import t from "tap";
import { v7 as newId } from "uuid";
import { inTransaction, type Tx } from "../../src/db/transaction.ts";
import { testDatabase } from "../../test/support/database.ts";
import { openContext } from "../../test/support/product/context.ts";
import { publishStory, seeStory } from "../../test/support/product/stories.ts";
import { redisService } from "../../test/support/services.ts";
import { lockAccounts } from "../accounts/index.ts";
import { Trays } from "./tray.ts";

/** Trays against a model in memory, read at two servers after each step. */
const service = await redisService(t);
if (!service) process.exit();
const database = await testDatabase(t);
const contexts = [await openContext(t, database.url, service), await openContext(t, database.url, service)] as const;
const servers = contexts.map((context) => new Trays(context));
const [context] = contexts;
const { db } = context;

const PEOPLE = 4;
const RUNS = Number(process.env.TINTYPE_TEST_TRAY_RUNS ?? 6);

const ids = Array.from({ length: PEOPLE }, () => newId());
const idOf = (index: number) => ids[index] ?? "";
await db
  .insertInto("users")
  .values(ids.map((id, index) => ({ id, username: `user${index}`, email: `${index}@example.org`, password_hash: "" })))
  .execute();

/** Relations from one to another, each with what tells of it. */
const RELATIONS = {
  follows: ["follower_id", "following_id"],
  mutes: ["muter_id", "muted_id"],
  blocks: ["blocker_id", "blocked_id"],
  close_friends: ["owner_id", "friend_id"],
  story_hides: ["owner_id", "hidden_id"],
} as const;
type Relation = keyof typeof RELATIONS;

interface ModelStory {
  id: string;
  author: number;
  close: boolean;
  /** In the order in which they were published. */
  number: number;
  seen: Set<number>;
}

type Step =
  | { kind: "relate"; relation: Relation; from: number; to: number; on: boolean }
  | { kind: "publish"; author: number; close: boolean }
  | { kind: "remove" | "expire"; story: number }
  | { kind: "view"; story: number; viewer: number };

const person = fc.nat(PEOPLE - 1);
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc
        .record({
          kind: fc.constant("relate" as const),
          relation: fc.constantFrom<Relation>(
            "follows",
            "follows",
            "follows",
            ...(Object.keys(RELATIONS) as Relation[]),
          ),
          from: person,
          to: person,
          on: fc.boolean(),
        })
        .filter(({ from, to }) => from !== to),
    },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("publish" as const), author: person, close: fc.boolean() }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constantFrom("remove" as const, "expire" as const), story: fc.nat(20) }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("view" as const), story: fc.nat(20), viewer: person }) },
  ),
  { minLength: 15, maxLength: 30 },
);

class Model {
  readonly stories: ModelStory[] = [];
  readonly #relations = new Map<Relation, Set<string>>();

  has(relation: Relation, from: number, to: number): boolean {
    return this.#relations.get(relation)?.has(`${from} ${to}`) ?? false;
  }

  set(relation: Relation, from: number, to: number, on: boolean): void {
    const pairs = this.#relations.get(relation) ?? new Set();
    this.#relations.set(relation, pairs);
    pairs[on ? "add" : "delete"](`${from} ${to}`);
  }

  sees(viewer: number, { author, close }: ModelStory): boolean {
    if (viewer === author) return true;
    if (this.has("blocks", viewer, author) || this.has("blocks", author, viewer)) return false;
    return !this.has("story_hides", author, viewer) && (!close || this.has("close_friends", author, viewer));
  }

  tray(viewer: number): unknown[] {
    const authors = ids
      .map((_, author) => author)
      .filter(
        (author) => author === viewer || (this.has("follows", viewer, author) && !this.has("mutes", viewer, author)),
      );
    const entries = authors.flatMap((author) => {
      const stories = this.stories.filter((story) => story.author === author && this.sees(viewer, story));
      if (stories.length === 0) return [];
      const unseen = author !== viewer && stories.some(({ seen }) => !seen.has(viewer));
      return [{ author, unseen, count: stories.length, latest: Math.max(...stories.map(({ number }) => number)) }];
    });
    const rank = ({ author, unseen }: (typeof entries)[number]) => (author === viewer ? 2 : unseen ? 1 : 0);
    entries.sort((one, other) => rank(other) - rank(one) || other.latest - one.latest);
    return entries.map(({ author, unseen, count }) => [author, unseen, count]);
  }
}

/** Makes a relation, or ends it, as the graph does. */
async function relate(tx: Tx, relation: Relation, [from, to]: readonly [string, string], on: boolean): Promise<void> {
  const [own, other] = RELATIONS[relation];
  const table = sql.table(relation);
  const { numAffectedRows } = await (on
    ? sql`INSERT INTO ${table} (${sql.ref(own)}, ${sql.ref(other)}) VALUES (${from}, ${to}) ON CONFLICT DO NOTHING`
    : sql`DELETE FROM ${table} WHERE ${sql.ref(own)} = ${from} AND ${sql.ref(other)} = ${to}`
  ).execute(tx);
  if (numAffectedRows === 0n) return;
  switch (relation) {
    case "follows":
      return context.emit(tx, on ? "follow.started" : "follow.ended", { follower_id: from, following_id: to });
    case "mutes":
      return context.emit(tx, on ? "account.muted" : "account.unmuted", { muter_id: from, muted_id: to });
    case "blocks":
      return context.emit(tx, on ? "account.blocked" : "account.unblocked", { blocker_id: from, blocked_id: to });
    default:
      return context.emit(tx, "story_audience.changed", { owner_id: from, viewer_id: to });
  }
}

/** In the place of the second that a tray is kept. */
async function forgetTrays(): Promise<void> {
  const redis = context.redis;
  if (redis) await Promise.all(ids.map((id) => redis.client().del(redis.key("tray", id))));
}

async function perform(model: Model, step: Step): Promise<void> {
  switch (step.kind) {
    case "relate": {
      const { relation, from, to, on } = step;
      const pair = [idOf(from), idOf(to)] as const;
      // Between people of whom one blocks the other nothing begins, and a block ends what there is.
      const apart = model.has("blocks", from, to) || model.has("blocks", to, from);
      if (apart && on && (relation === "follows" || relation === "close_friends")) return;
      await inTransaction(db, async (tx) => {
        await lockAccounts(tx, pair);
        if (relation === "blocks" && on) {
          for (const ended of ["follows", "close_friends"] as const) {
            for (const [one, other] of [
              [from, to],
              [to, from],
            ] as const) {
              model.set(ended, one, other, false);
              await relate(tx, ended, [idOf(one), idOf(other)], false);
            }
          }
        }
        await relate(tx, relation, pair, on);
      });
      model.set(relation, from, to, on);
      return;
    }
    case "publish": {
      const id = await publishStory(context, idOf(step.author), step.close ? "close_friends" : "everyone");
      const number = (model.stories.at(-1)?.number ?? 0) + 1;
      // In milliseconds two may be published at once, and then the id decides.
      await sql`UPDATE stories SET published_at = published_at + ${number} * interval '1 second' WHERE id = ${id}`.execute(
        db,
      );
      model.stories.push({ id, author: step.author, close: step.close, number, seen: new Set() });
      return forgetTrays();
    }
    default: {
      const story = model.stories[step.story % Math.max(1, model.stories.length)];
      if (!story) return;
      if (step.kind === "view") return view(story, step.viewer);
      model.stories.splice(model.stories.indexOf(story), 1);
      if (step.kind === "expire") {
        await sql`UPDATE stories SET expires_at = now() WHERE id = ${story.id}`.execute(db);
        return forgetTrays();
      }
      await inTransaction(db, async (tx) => {
        await sql`UPDATE stories SET status = 'removed', medium_id = NULL WHERE id = ${story.id}`.execute(tx);
        await lockAccounts(tx, [idOf(story.author)]);
        await context.emit(tx, "story.removed", { story_id: story.id, author_id: idOf(story.author) });
      });
    }
  }
}

async function view(story: ModelStory, viewer: number): Promise<void> {
  if (story.seen.has(viewer) || story.author === viewer) return;
  story.seen.add(viewer);
  await seeStory(context, idOf(viewer), story.id);
}

t.test("after every step, whatever was kept before it", async (t) => {
  let entries = 0;
  await fc.assert(
    fc.asyncProperty(steps, async (given) => {
      await sql`TRUNCATE follows, mutes, blocks, close_friends, story_hides, story_views`.execute(db);
      await sql`DELETE FROM stories`.execute(db);
      await forgetTrays();
      const model = new Model();
      for (const from of ids.keys())
        for (const to of ids.keys())
          if (from !== to) await perform(model, { kind: "relate", relation: "follows", from, to, on: true });
      for (const step of given) {
        await perform(model, step);
        for (const viewer of ids.keys()) {
          const wanted = JSON.stringify(model.tray(viewer));
          for (const [n, server] of servers.entries()) {
            const tray = await server.of(idOf(viewer));
            const told = tray.map(({ user, has_unseen, count }) => [ids.indexOf(user.id), has_unseen, count]);
            entries += told.length;
            if (JSON.stringify(told) !== wanted)
              throw new Error(
                `${JSON.stringify(step)}, server ${n}, of ${viewer}: ${JSON.stringify(told)} instead of ${wanted}`,
              );
          }
        }
      }
    }),
    { numRuns: RUNS },
  );
  t.ok(entries > 100 * RUNS, `${entries} were looked at`);
});
