import type { Answer } from "../client.ts";
import type { World } from "../feed-model/world.ts";
import { ordersOf, told } from "../graph-model.ts";
import { checkStatus, wrong } from "./check.ts";
import {
  type AudienceModel,
  type AudienceOperation,
  type Certainty,
  copyOfAudience,
  isOfLists,
  type ModelStory,
  performAudience,
  type Span,
  type StoriesModel,
  shownAudience,
  storedAudience,
} from "./model.ts";
import type { PersonStep } from "./steps.ts";

export interface Circumstances {
  people: readonly string[];
  /** Who keeps their stories when they are over. */
  keepers: readonly string[];
  /** Milliseconds: the shortest time that a worker gives a story. */
  shortest: number;
}

/** What has happened, so that a test can see that it was about something. */
export interface Explored {
  rounds: number;
  stories: number;
  /** Views that were new, and those that were told to be not. */
  news: number;
  repeats: number;
  reads: number;
  /** Stories that were over while the rounds were played. */
  over: number;
  /** What cleanups said that they removed. */
  cleaned: number;
  /** Answers that nobody heard, because the server was killed. */
  unheard: number;
}

/** A step that was carried out, with one answer for each time that it was asked; null for one that nobody heard. */
export interface Done {
  step: PersonStep;
  story: ModelStory | undefined;
  span: Span;
  answers: (Answer | null)[];
}

/** Brings the model in step with what has been answered, and holds the answers to it. */
export class Learner {
  /** When a viewer came to have an author's stories in the tray, by `viewer>author`, in milliseconds of the database's clock. */
  readonly gained = new Map<string, number>();
  readonly #world: World;
  readonly #model: StoriesModel;
  readonly #options: Circumstances;
  readonly #explored: Explored;

  constructor(world: World, model: StoriesModel, options: Circumstances, explored: Explored) {
    this.#world = world;
    this.#model = model;
    this.#options = options;
    this.#explored = explored;
  }

  /** @param now by the database's clock. @throws where an answer is not what it must be. */
  async learn(done: readonly Done[], now: number): Promise<void> {
    this.#explored.unheard += done.flatMap(({ answers }) => answers).filter((answer) => answer === null).length;
    const before = copyOfAudience(this.#model.audience);
    await this.#learnAudience(done);
    this.#learnGains(before, now);
    for (const one of done) if (one.step.step === "post") await this.#learnPost(one, now);
    for (const one of done)
      if (one.step.step === "view") await this.#learnView(one, this.#doubts(one, done, before), now);
    for (const one of done) {
      if (one.step.step === "react") await this.#learnReaction(one, this.#doubts(one, done, before), now);
    }
    for (const one of done)
      if (one.step.step === "delete") await this.#learnDeletion(one, this.#doubts(one, done, before));
    await this.learnPublished(now);
    await this.#checkRows();
  }

  /** Of changes at once it is known that they happened in some order, and the rows tell which. */
  async #learnAudience(done: readonly Done[]): Promise<void> {
    const { audience } = this.#model;
    const changes = done.flatMap(({ step, answers }) =>
      step.step === "audience" ? [{ operation: step.operation, answer: answers[0] ?? null }] : [],
    );
    if (changes.length === 0) return;
    if (changes.some(({ answer }) => answer === null)) {
      this.#model.audience = await storedAudience(this.#world.sql);
      return;
    }
    const said = JSON.stringify(changes.map(({ operation, answer }) => answer && toldOf(operation, answer)));
    const ends = new Map<string, AudienceModel>();
    for (const order of ordersOf([...changes.entries()])) {
      const after = copyOfAudience(audience);
      const answers: unknown[] = [];
      for (const [index, { operation }] of order) answers[index] = performAudience(after, operation);
      if (JSON.stringify(answers) === said) ends.set(shownAudience(after), after);
    }
    // Whoever went public lets a job approve those who wait.
    const isCertain = ends.size === 1 && !changes.some(({ operation }) => operation.change === "public");
    const end = isCertain ? [...ends.values()][0] : ends.get(shownAudience(await storedAudience(this.#world.sql)));
    if (!end) throw new Error(`no order explains the answers ${said}`);
    this.#model.audience = end;
  }

  #learnGains(before: AudienceModel, now: number): void {
    for (const viewer of this.#options.people) {
      for (const author of this.#options.people) {
        for (const audience of ["everyone", "close_friends"] as const) {
          const stands = (of: AudienceModel) => this.#model.isInTray(viewer, { author, audience }, of);
          if (stands(this.#model.audience) && !stands(before)) this.gained.set(`${viewer}>${author}`, now);
        }
      }
    }
  }

  /** Whether a story was shown to who did something with it, while others did what they did. */
  #doubts({ step: { who }, story, span }: Done, done: readonly Done[], before: AudienceModel): Certainty {
    if (!story) return "no";
    const others = done.filter(({ step }) => step.who !== who);
    const isDisputed = others.some(({ step, story: other }) => {
      if (step.step === "delete") return step.own && other === story;
      if (step.step !== "audience") return false;
      const { operation } = step;
      const between = "whom" in operation ? [operation.who, operation.whom] : [operation.who];
      return between.includes(story.author) && (between.length === 1 || between.includes(who));
    });
    if (isDisputed && who !== story.author) return "maybe";
    if (who !== story.author && !this.#model.isFor(who, story, before)) return "no";
    return who === story.author ? this.#model.isOn(story, span) : this.#model.isShown(who, story, span);
  }

  async #learnPost({ step, answers: [answer] }: Done, now: number): Promise<void> {
    const { stories } = this.#model;
    const { who } = step;
    if (answer) {
      if (answer.status !== 202) throw wrong({ viewer: who, server: -1, answer }, "a story");
      const audience = step.step === "post" ? step.audience : "everyone";
      this.#posted({ id: String(answer.body.story_id), author: who, audience, posted: now });
      return;
    }
    const { rows } = await this.#world.sql.query(
      `SELECT stories.id, audience FROM stories JOIN users ON users.id = user_id
       WHERE username = $1 AND status <> 'removed' AND stories.id <> ALL ($2)`,
      [who, [...stories.keys()]],
    );
    for (const { id, audience } of rows) this.#posted({ id, author: who, audience, posted: now });
  }

  #posted(story: Pick<ModelStory, "id" | "author" | "audience" | "posted">): void {
    const kept = this.#options.keepers.includes(story.author);
    const none = { published: null, deleted: false, due: false, viewers: new Map() };
    this.#model.stories.set(story.id, { ...story, kept, ...none });
    this.#explored.stories++;
  }

  async #learnView({ step, story, span, answers }: Done, is: Certainty, now: number): Promise<void> {
    if (!story) return;
    const viewer = step.who;
    const heard = answers.filter((answer) => answer !== null);
    for (const answer of heard) {
      checkStatus({ viewer, server: -1, span, answer }, `a view of ${story.id}`, is, { yes: 200, no: 404 });
    }
    const views = heard.filter(({ status }) => status === 200);
    const news = views.filter(({ body }) => body.new_view).length;
    this.#explored.news += news;
    this.#explored.repeats += views.length - news;
    const had = viewer === story.author || story.viewers.has(viewer);
    const isLost = heard.length < answers.length;
    if (had && news > 0) throw new Error(`${viewer} has seen ${story.id}, and is told of a new view`);
    if (had) return;
    if (news > 1) throw new Error(`${viewer} is told ${news} times of a new view of ${story.id}`);
    if (views.length > 0 && news === 0 && !isLost) throw new Error(`${viewer} is told of no new view of ${story.id}`);
    const wasMade = views.length > 0 || (isLost && (await this.#storedView(viewer, story)) !== undefined);
    if (wasMade) story.viewers.set(viewer, { reaction: null, at: now });
  }

  async #learnReaction({ step, story, span, answers: [answer] }: Done, is: Certainty, now: number): Promise<void> {
    if (!story || step.step !== "react") return;
    const viewer = step.who;
    const known = story.viewers.get(viewer);
    if (!answer) {
      const stored = await this.#storedView(viewer, story);
      if (stored) story.viewers.set(viewer, { reaction: stored.reaction, at: known?.at ?? now });
      return;
    }
    const read = { viewer, server: -1, span, answer };
    const isOwn = viewer === story.author;
    // One's own story one finds also while it is processed, and takes nothing back from it.
    const own: Certainty = step.emoji === null ? this.#model.isShown(viewer, story, span) : is;
    const yes = isOwn && step.emoji !== null ? 422 : 200;
    checkStatus(read, `a reaction to ${story.id}`, isOwn ? own : is, { yes, no: 404 });
    if (answer.status !== 200) return;
    if (answer.body.reaction !== step.emoji) throw wrong(read, `the reaction must be ${step.emoji}`);
    if (isOwn || (step.emoji === null && !known)) return;
    story.viewers.set(viewer, { reaction: step.emoji, at: known?.at ?? now });
  }

  async #learnDeletion({ step, story, span, answers: [answer] }: Done, is: Certainty): Promise<void> {
    if (!story) return;
    const viewer = step.who;
    if (viewer !== story.author) {
      if (answer) checkStatus({ viewer, server: -1, span, answer }, `deleting ${story.id}`, is, { yes: 403, no: 404 });
      return;
    }
    if (answer) {
      const owned = this.#model.isOwned(story, span);
      checkStatus({ viewer, server: -1, span, answer }, `deleting ${story.id}`, owned, { yes: 204, no: 404 });
      story.deleted ||= answer.status === 204;
      return;
    }
    const { rowCount } = await this.#world.sql.query("SELECT FROM stories WHERE id = $1 AND status <> 'removed'", [
      story.id,
    ]);
    story.deleted ||= rowCount === 0;
  }

  async #storedView(viewer: string, { id }: ModelStory): Promise<{ reaction: string | null } | undefined> {
    const { rows } = await this.#world.sql.query(
      "SELECT reaction FROM story_views JOIN users ON users.id = viewer_id WHERE story_id = $1 AND username = $2",
      [id, viewer],
    );
    return rows[0];
  }

  /** What is published by now is known from here on, from its author's answer. */
  async learnPublished(now: number): Promise<void> {
    await Promise.all(
      [...this.#model.stories.values()]
        .filter(({ published, deleted }) => published === null && !deleted)
        .map(async (story) => {
          const answer = await this.#world.ask(story.author, 0, "GET", `/stories/${story.id}`);
          if (answer?.status === 404) return this.#learnOver(story, now);
          if (answer?.status !== 200) throw new Error(`${story.id}: ${answer?.status} ${answer?.bytes}`);
          if (answer.body.status !== "published") return;
          const { published_at, expires_at, media } = answer.body;
          story.published = { at: Date.parse(published_at), expires: Date.parse(expires_at), mediumId: media[0].id };
        }),
    );
  }

  /** It was published and over before anybody looked, and perhaps cleaned up. */
  async #learnOver(story: ModelStory, now: number): Promise<void> {
    const { rows } = await this.#world.sql.query(
      "SELECT published_at, expires_at, medium_id FROM stories WHERE id = $1 AND expires_at <= now()",
      [story.id],
    );
    if (!rows[0]) {
      if (story.kept || story.posted + this.#options.shortest > now) throw new Error(`${story.id} is not there`);
      this.#model.stories.delete(story.id);
      return;
    }
    const { published_at, expires_at, medium_id } = rows[0];
    story.published = { at: published_at.getTime(), expires: expires_at.getTime(), mediumId: medium_id };
  }

  /** No cleanup removes what is not over, or not for long enough, or kept. */
  async #checkRows(): Promise<void> {
    const { rows } = await this.#world.sql.query("SELECT id FROM stories WHERE status <> 'removed'");
    const stored = new Set(rows.map(({ id }) => String(id)));
    for (const { id, deleted, due, kept } of this.#model.stories.values()) {
      if (!deleted && !stored.has(id) && (kept || !due)) throw new Error(`${id} was removed too early`);
    }
  }
}

/** What was answered, in the words of the model. */
function toldOf(operation: AudienceOperation, answer: Answer): unknown {
  if (!isOfLists(operation)) return told(operation, answer);
  if (answer.status !== 200) return answer.status;
  return answer.body.close_friend ?? answer.body.stories_hidden;
}
