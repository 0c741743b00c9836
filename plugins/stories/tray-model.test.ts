import * as fc from "fast-check";
import { sql } from "kysely";
import t from "tap";
import { v7 as newId } from "uuid";
import { HttpError } from "../../src/http/errors.ts";
import { testDatabase } from "../../test/support/database.ts";
import { openContext } from "../../test/support/product/context.ts";
import { type Relation, relating } from "../../test/support/product/graph.ts";
import { publishStory } from "../../test/support/product/stories.ts";
import { waitFor } from "../../test/support/server.ts";
import { redisService } from "../../test/support/services.ts";
import { removeStory } from "./stories.ts";
import { Trays } from "./tray.ts";
import { Views } from "./views.ts";

/** Trays, while the product's own functions change what is in them, against a model in memory, read at two servers after each step. */
const service = await redisService(t);
if (!service) process.exit();
const database = await testDatabase(t);
const contexts = [await openContext(t, database.url, service), await openContext(t, database.url, service)] as const;
const servers = contexts.map((context) => new Trays(context));
const [context] = contexts;
const { db } = context;
const views = new Views(context);

const PEOPLE = 4;
const RUNS = Number(process.env.TINTYPE_TEST_TRAY_RUNS ?? 6);

/** Those of a run. */
let ids: string[] = [];
const idOf = (index: number) => ids[index] ?? "";
const nameOf = (index: number) => `u${idOf(index).replaceAll("-", "").slice(-28)}`;

interface ModelStory {
  id: string;
  author: number;
  close: boolean;
  publishedAt: number;
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
            ...(Object.keys(relating) as Relation[]),
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

  /** @returns with which code it is refused, if it is. */
  relate(relation: Relation, from: number, to: number, on: boolean): string | null {
    if (this.has("blocks", to, from)) return "USER_NOT_FOUND";
    const begins = on && (relation === "follows" || relation === "close_friends");
    if (begins && this.has("blocks", from, to)) return "YOU_BLOCK";
    this.#set(relation, from, to, on);
    if (on && relation === "blocks") {
      for (const ended of ["follows", "close_friends"] as const) {
        this.#set(ended, from, to, false);
        this.#set(ended, to, from, false);
      }
    }
    return null;
  }

  #set(relation: Relation, from: number, to: number, on: boolean): void {
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
      return [
        { author, unseen, count: stories.length, latest: Math.max(...stories.map(({ publishedAt }) => publishedAt)) },
      ];
    });
    const rank = ({ author, unseen }: (typeof entries)[number]) => (author === viewer ? 2 : unseen ? 1 : 0);
    const higher = (one: number, other: number) => (idOf(one) < idOf(other) ? 1 : -1);
    entries.sort(
      (one, other) => rank(other) - rank(one) || other.latest - one.latest || higher(one.author, other.author),
    );
    return entries.map(({ author, unseen, count }) => [author, unseen, count]);
  }
}

const trayKeys = () => contexts.flatMap(({ redis }) => (redis ? ids.map((id) => redis.key("tray", id)) : []));

/** In the place of the second that a tray is kept. */
async function forgetTrays(): Promise<void> {
  for (const key of trayKeys()) await context.redis?.client().del(key);
}

/** Until a story is over, and what is kept of before in Redis has gone by itself. */
async function letPass(story: string): Promise<void> {
  for (const server of servers) for (const id of ids) await server.of(id);
  await sql`SELECT pg_sleep_until(expires_at) FROM stories WHERE id = ${story}`.execute(db);
  await waitFor(async () => {
    const found = await Promise.all(trayKeys().map((key) => context.redis?.client().exists(key)));
    return !found.includes(1);
  }, "the trays to go");
}

/** @returns the code of its refusal, if it is refused. */
async function refusal(work: Promise<unknown>): Promise<string | null> {
  try {
    await work;
    return null;
  } catch (error) {
    if (error instanceof HttpError) return error.code;
    throw error;
  }
}

function assertSame(found: unknown, wanted: unknown, about: string): void {
  const [one, other] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (one !== other) throw new Error(`${about}: ${one} instead of ${other}`);
}

async function perform(model: Model, step: Step): Promise<void> {
  switch (step.kind) {
    case "relate": {
      const { relation, from, to, on } = step;
      const change = relating[relation][on ? "make" : "end"];
      const refused = await refusal(change(context, idOf(from), nameOf(to)));
      return assertSame(refused, model.relate(relation, from, to, on), JSON.stringify(step));
    }
    case "publish": {
      const id = await publishStory(context, idOf(step.author), step.close ? "close_friends" : "everyone");
      const { rows } = await sql<{ at: Date }>`SELECT published_at AS at FROM stories WHERE id = ${id}`.execute(db);
      const publishedAt = rows[0]?.at.getTime() ?? 0;
      model.stories.push({ id, author: step.author, close: step.close, publishedAt, seen: new Set() });
      return forgetTrays();
    }
    default: {
      const story = model.stories[step.story % Math.max(1, model.stories.length)];
      if (!story) return;
      if (step.kind === "view") {
        const refused = await refusal(views.view(idOf(step.viewer), story.id));
        if (refused === null) story.seen.add(step.viewer);
        return assertSame(refused, model.sees(step.viewer, story) ? null : "STORY_NOT_FOUND", JSON.stringify(step));
      }
      model.stories.splice(model.stories.indexOf(story), 1);
      if (step.kind === "remove") return removeStory(context, idOf(story.author), story.id);
      // Nothing else moves the time of a story, so no tray knows of it.
      await sql`UPDATE stories SET expires_at = clock_timestamp() + interval '200 milliseconds' WHERE id = ${story.id}`.execute(
        db,
      );
      await forgetTrays();
      return letPass(story.id);
    }
  }
}

t.test("after every step, whatever was kept before it", async (t) => {
  let entries = 0;
  await fc.assert(
    fc.asyncProperty(steps, async (given) => {
      ids = Array.from({ length: PEOPLE }, () => newId());
      const people = ids.map((id, n) => ({ id, username: nameOf(n), email: `${id}@example.org`, password_hash: "" }));
      await db.insertInto("users").values(people).execute();
      const model = new Model();
      for (const from of ids.keys())
        for (const to of ids.keys())
          if (from !== to) await perform(model, { kind: "relate", relation: "follows", from, to, on: true });
      for (const step of given) {
        await perform(model, step);
        for (const viewer of ids.keys()) {
          for (const [n, server] of servers.entries()) {
            const tray = await server.of(idOf(viewer));
            const told = tray.map(({ user, has_unseen, count }) => [ids.indexOf(user.id), has_unseen, count]);
            entries += told.length;
            assertSame(told, model.tray(viewer), `${JSON.stringify(step)}, server ${n}, of ${viewer}`);
          }
        }
      }
    }),
    { numRuns: RUNS },
  );
  t.ok(entries > 20 * RUNS, `${entries} were looked at`);
});
