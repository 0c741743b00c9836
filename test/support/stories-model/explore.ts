import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Answer, Json } from "../client.ts";
import { startWorld, type World, type WorldOptions } from "../feed-model/world.ts";
import { CHANGES } from "../graph-model.ts";
import { picture } from "../pictures.ts";
import { playRounds } from "../play.ts";
import { start, waitFor } from "../server.ts";
import { storyForm } from "../stories.ts";
import { checkList, checkStatus, checkStory, checkTray, checkViewers, type Read, wrong } from "./check.ts";
import { compareStored } from "./compare.ts";
import { type Circumstances, type Done, type Explored, Learner } from "./learn.ts";
import { AUDIENCE_CHANGES, type ModelStory, type Span, StoriesModel } from "./model.ts";
import { type Disturbance, type PersonStep, type Round, rounds } from "./steps.ts";

interface Test {
  teardown(end: () => unknown): void;
  comment(...message: unknown[]): void;
}

export interface Exploration extends Omit<WorldOptions, "postsEach">, Circumstances {
  /** How many times rounds are played and everything is then compared whole; of one seed the rounds are the same. */
  runs: number;
  roundsEach: number;
  disturbances: readonly Disturbance["kind"][];
  /** What the test itself can do to the service. */
  others?: Record<string, () => Promise<unknown>>;
  /** Whether what is compared at the end is compared when all stories are over. */
  outlast?: boolean;
  /** Milliseconds by which a tray may lag; twice what is promised. */
  lag: number;
  /** The keys of all objects that the store has. */
  objects(world: World): Promise<string[]>;
  seed: number;
}

const HISTORY = 25;
/** Milliseconds that what is over stays unless a cleanup is told otherwise. */
const GRACE = 1_000;
/** Milliseconds by which the clocks of this process and the database may be taken to differ more than was measured. */
const SLACK = 25;

/** Plays rounds and holds every answer to the model. @throws with the last rounds where one is wrong. */
export async function exploreStories(t: Test, options: Exploration): Promise<Explored> {
  t.comment(`TINTYPE_TEST_SEED=${options.seed}`);
  const world = await startWorld(t, {
    ...options,
    postsEach: 0,
    settings: { TINTYPE_STORIES_CLEANUP_GRACE: `${GRACE}ms`, ...options.settings },
  });
  const explorer = new Explorer(world, options);
  await explorer.begin();
  const { people, disturbances, others = {} } = options;
  await playRounds(explorer, rounds(people, disturbances, Object.keys(others)), options);
  return explorer.explored;
}

class Explorer {
  readonly history: string[] = [];
  readonly explored: Explored = {
    rounds: 0,
    stories: 0,
    news: 0,
    repeats: 0,
    reads: 0,
    over: 0,
    cleaned: 0,
    unheard: 0,
  };
  readonly #world: World;
  readonly #options: Exploration;
  readonly #model = new StoriesModel();
  readonly #learner: Learner;
  readonly #tickets = new Map<string, string>();
  /** What is to be added to this process' clock. */
  #offset = 0;
  #photo: Buffer = Buffer.alloc(0);

  constructor(world: World, options: Exploration) {
    this.#world = world;
    this.#options = options;
    this.#learner = new Learner(world, this.#model, options, this.explored);
  }

  /** Most follow each other, so that whatever they do next is seen by somebody. */
  async begin(): Promise<void> {
    const { people, keepers } = this.#options;
    const { sql } = this.#world;
    const before = Date.now();
    const { rows } = await sql.query("SELECT clock_timestamp() AS now");
    this.#offset = rows[0].now.getTime() - (before + Date.now()) / 2;
    this.#photo = await picture({ width: 18, height: 32, format: "png" });
    await sql.query(
      "INSERT INTO story_settings (user_id, keep_archive) SELECT id, true FROM users WHERE username = ANY ($1)",
      [keepers],
    );
    for (const [one, who] of people.entries()) {
      for (const [other, whom] of people.entries()) {
        if (one === other || (one + other) % 3 === 0) continue;
        await this.#world.ask(who, 0, "POST", `/users/${whom}/follow`);
        this.#model.audience.follows.add(`${who}>${whom}`);
      }
    }
  }

  async play({ steps, disturbance }: Round): Promise<void> {
    const busy = new Set<string>();
    const chosen = steps.filter(({ who }) => !busy.has(who) && busy.add(who));
    const [done] = await Promise.all([
      Promise.all(chosen.map((step) => this.#carryOut(step))),
      this.#disturb(disturbance),
    ]);
    const told = done.map(({ step, story, answers }) => {
      const said = answers.map((answer) => `${answer?.status} ${answer?.bytes.subarray(0, 60)}`);
      return `${JSON.stringify({ ...step, story: story?.id })} → ${said.join(", ")}`;
    });
    this.history.push([...told, ...(disturbance ? [JSON.stringify(disturbance)] : [])].join("; "));
    this.history.splice(0, this.history.length - HISTORY);
    // The clock's job may run at any time.
    this.#mayBeGone(GRACE);
    await this.#learner.learn(done, this.#now());
    await this.#checkSome(this.explored.rounds++);
  }

  #now(): number {
    return Date.now() + this.#offset;
  }

  async #spanOf<T>(work: () => Promise<T>): Promise<{ span: Span; value: T }> {
    const from = this.#now() - SLACK;
    const value = await work();
    return { span: { from, to: this.#now() + SLACK }, value };
  }

  /** The story that a step is about: one of the latest that are not over, or of the others, which are fewer. */
  #chosen(step: PersonStep): ModelStory | undefined {
    if (!("index" in step)) return undefined;
    const isWanted = ({ author }: ModelStory) => step.step !== "delete" || (author === step.who) === step.own;
    const now = { from: this.#now(), to: this.#now() };
    const stories = [...this.#model.stories.values()].filter(isWanted);
    const on = stories.filter((story) => this.#model.isOn(story, now) !== "no");
    const others = stories.filter((story) => !on.includes(story));
    const latest = [...others.slice(-2), ...on.slice(-8)];
    return latest[step.index % latest.length];
  }

  async #carryOut(step: PersonStep): Promise<Done> {
    const story = this.#chosen(step);
    const ask = (server: number, method: string, path: string, options = {}) =>
      this.#world.ask(step.who, server % this.#world.servers.length, method, path, options);
    const { span, value: answers } = await this.#spanOf(async (): Promise<(Answer | null)[]> => {
      if (step.step === "audience") {
        const { operation } = step;
        if (!("whom" in operation)) {
          return [await ask(step.server, "PATCH", "/me", { json: { is_private: operation.change === "private" } })];
        }
        const [method, path] = { ...CHANGES, ...AUDIENCE_CHANGES }[operation.change];
        return [await ask(step.server, method, path.replace("NAME", operation.whom))];
      }
      if (step.step === "post") {
        // Nobody reads what comes behind a PNG's end.
        const form = storyForm(Buffer.concat([this.#photo, randomBytes(8)]), { audience: step.audience });
        return [await ask(step.server, "POST", "/stories", { form })];
      }
      if (!story) return [];
      const path = `/stories/${story.id}`;
      switch (step.step) {
        case "view":
          return Promise.all(step.servers.map((server) => ask(server, "POST", `${path}/view`)));
        case "react": {
          const { emoji } = step;
          const [method, options] = emoji === null ? ["DELETE", {}] : ["POST", { json: { emoji } }];
          return [await ask(step.server, String(method), `${path}/reaction`, options)];
        }
        case "delete":
          return [await ask(step.server, "DELETE", path)];
      }
    });
    return { step, story, span, answers };
  }

  async #disturb(disturbance: Disturbance | null): Promise<void> {
    const { servers, workers, others } = this.#options;
    switch (disturbance?.kind) {
      case "kill server":
        return this.#world.killServer(disturbance.index % servers);
      case "kill worker":
        return this.#world.killWorker(disturbance.index % workers);
      case "repeat jobs":
        await this.#world.repeatJobs();
        return;
      case "cleanup":
        await Promise.all(disturbance.graces.map((grace) => this.#cleanUp(grace)));
        return;
      case "kill cleanup": {
        const cleanup = start(["stories", "cleanup", "--grace", "0s"], this.#world.env);
        await Promise.race([cleanup.exited, delay(disturbance.after)]);
        await cleanup.kill();
        this.#mayBeGone(0);
        return;
      }
      case "other":
        await others?.[disturbance.name]?.();
    }
  }

  /** @param grace seconds; null for the job that the clock makes, with the configured one. */
  async #cleanUp(grace: number | null): Promise<void> {
    if (grace === null) {
      await this.#world.sql.query("INSERT INTO pgboss.job (name, data) VALUES ('stories.cleanup', '{}')");
      return;
    }
    const { code, stdout, stderr } = await this.#world.command("stories", "cleanup", "--json", "--grace", `${grace}s`);
    if (code !== 0) throw new Error(`cleanup: ${code} ${stdout} ${stderr}`);
    const cleaned: Json = JSON.parse(stdout);
    const fields = ["deleted_media", "deleted_records", "duration_ms", "skipped"];
    if (String(Object.keys(cleaned).sort()) !== String(fields)) throw new Error(`cleanup: ${stdout}`);
    this.explored.cleaned += cleaned.deleted_records;
    this.#mayBeGone(grace * 1_000);
  }

  /** A cleanup has run that leaves what has been over for less than `grace` milliseconds. */
  #mayBeGone(grace: number): void {
    for (const story of this.#model.stories.values()) {
      if (!story.kept && story.published && story.published.expires + grace <= this.#now() + SLACK) story.due = true;
    }
  }

  /** Asks as a viewer. Nobody is killed meanwhile. */
  async #read(viewer: string, server: number, path: string, method = "GET"): Promise<Read> {
    const { span, value: answer } = await this.#spanOf(() => this.#world.ask(viewer, server, method, path));
    if (!answer) throw new Error("nobody is killed now");
    this.explored.reads++;
    return { viewer, server, span, answer };
  }

  /** What everybody sees of everything: all trays and lists, and some of the rest, other ones each round. */
  async #checkSome(round: number, all = false): Promise<void> {
    const { people } = this.#options;
    const { length } = this.#world.servers;
    const stories = [...this.#model.stories.values()];
    await Promise.all(
      people.map(async (viewer, n) => {
        const server = (round + n) % length;
        await this.#checkTrayOf(viewer, server);
        for (const author of people) {
          checkList(this.#model, await this.#read(viewer, server, `/users/${author}/stories`), author);
        }
        for (const [index, story] of stories.entries()) {
          const every = this.#isOld(story) ? 16 : 4;
          if (all || (round + n + index) % every === 0) await this.#checkById(viewer, server, story);
        }
      }),
    );
  }

  /** Over for longer than anything lags. */
  #isOld({ published, deleted }: ModelStory): boolean {
    return deleted || (published !== null && published.expires + this.#options.lag < this.#now());
  }

  async #checkTrayOf(viewer: string, server: number): Promise<void> {
    const read = await this.#read(viewer, server, "/stories/tray");
    checkTray(this.#model, read, { ms: this.#options.lag, gained: this.#learner.gained });
  }

  async #checkById(viewer: string, server: number, story: ModelStory): Promise<void> {
    const read = await this.#read(viewer, server, `/stories/${story.id}`);
    checkStatus(read, story.id, this.#model.isShown(viewer, story, read.span), { yes: 200, no: 404 });
    if (read.answer.status === 200) {
      checkStory(read, story, read.answer.body);
      const [, ticket] = /\?t=(.+)$/.exec(read.answer.body.media[0].small_url ?? "") ?? [];
      if (ticket) this.#tickets.set(viewer, ticket);
    }
    checkViewers(this.#model, await this.#read(viewer, server, `/stories/${story.id}/viewers`), story);
    await this.#checkView(viewer, server, story);
    const ticket = this.#tickets.get(viewer);
    if (!ticket || !story.published) return;
    const fetched = await this.#read(viewer, server, `/media/${story.published.mediumId}/small.webp?t=${ticket}`);
    const isKept = viewer === story.author && story.kept && !story.deleted;
    const is = isKept ? "yes" : this.#model.isShown(viewer, story, fetched.span);
    checkStatus({ ...fetched, answer: { ...fetched.answer, bytes: Buffer.alloc(0) } }, `${story.id}'s picture`, is, {
      yes: 200,
      no: 404,
    });
  }

  /** A view that can change nothing: of one's own story, of one that was seen, or is not shown. */
  async #checkView(viewer: string, server: number, story: ModelStory): Promise<void> {
    const now = { from: this.#now(), to: this.#now() };
    const isOwn = viewer === story.author;
    const isRepeat = isOwn || story.viewers.has(viewer);
    if (!isRepeat && this.#model.isShown(viewer, story, now) !== "no") return;
    const read = await this.#read(viewer, server, `/stories/${story.id}/view`, "POST");
    const is = isOwn ? this.#model.isOn(story, read.span) : this.#model.isShown(viewer, story, read.span);
    checkStatus(read, `a view of ${story.id}`, is, { yes: 200, no: 404 });
    if (read.answer.status === 200 && read.answer.body.new_view) throw wrong(read, `${story.id} was seen before`);
  }

  /** Waits until nothing is left to do, and compares all that everybody sees, the rows and the objects with the model. */
  async compareAll(): Promise<void> {
    const { sql, servers } = this.#world;
    const { lag, objects, outlast = false } = this.#options;
    const jobsDone = () =>
      waitFor(async () => {
        const { rowCount } = await sql.query(
          `SELECT FROM pgboss.job WHERE state IN ('created', 'retry', 'active')
           AND (name LIKE 'graph.%' OR name LIKE 'stories.%' OR name IN ('media.process', 'media.remove'))`,
        );
        return rowCount === 0;
      }, "the jobs to be done");
    await jobsDone();
    await this.#learner.learnPublished(this.#now());
    for (const story of this.#model.stories.values()) {
      if (!story.published && !story.deleted) throw new Error(`${story.id} is not published`);
    }
    const ends = [...this.#model.stories.values()].map(({ published, deleted }) =>
      deleted ? 0 : (published?.expires ?? 0),
    );
    await delay(Math.max(lag, outlast ? Math.max(...ends) - this.#now() : 0));
    for (const server of servers.keys()) await this.#checkSome(server, true);
    this.explored.over += [...this.#model.stories.values()].filter(
      ({ published, deleted }) => !deleted && published && published.expires < this.#now(),
    ).length;

    const begun = this.#now() - SLACK;
    await this.#cleanUp(0);
    await jobsDone();
    await compareStored(this.#world, this.#model, { objects, begun });
    this.history.push("compared");
  }
}
