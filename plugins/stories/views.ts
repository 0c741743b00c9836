import { validate as isUuid } from "uuid";
import type { Context } from "../../src/context.ts";
import { coalesce } from "../../src/db/coalesce.ts";
import { type Db, inTransaction } from "../../src/db/transaction.ts";
import { keepAnswer, withAnswer } from "../../src/http/idempotency.ts";
import { cannotReactToOwn, reactionInvalid, storyNotFound } from "./errors.ts";
import { storyViews, storyViewsRepeated, storyViewsSpared } from "./metrics.ts";
import { SeenStories } from "./seen.ts";
import { requireStory } from "./stories.ts";
import { markViewed } from "./tray-cache.ts";
import { type RecordedView, recordViews, setReaction, untilFree, type ViewPair } from "./view-store.ts";

/** Views that are written in one transaction. */
const BATCH = 500;

/** Thrown within: nothing was done, and may be tried again when nobody holds the viewer's account. */
class ViewerHeldError extends Error {}

/** Views of stories, and reactions, of one process. */
export class Views {
  readonly #context: Pick<Context, "db" | "log" | "redis">;
  readonly #seen: SeenStories;
  readonly #batched: (pairs: readonly string[]) => Promise<Map<string, RecordedView>>;
  /** Views that one of those who share the answer has been told of as new. */
  readonly #told = new WeakSet<RecordedView>();
  /** Viewers whose accounts somebody holds: one connection waits for each. */
  readonly #held = new Map<string, Promise<void>>();

  constructor(context: Pick<Context, "db" | "log" | "notices" | "redis">) {
    this.#context = context;
    this.#seen = new SeenStories(context);
    // One commit for all who look meanwhile, and not one each: those of a story wait for each other, since all count in its row.
    this.#batched = coalesce((pairs) => this.#record(pairs), { batch: BATCH });
  }

  /**
   * Records that the viewer has seen the story. When this resolves it is committed.
   * @returns whether it is new, which is told once. @throws 404 for a story that is not there, over, or not for the viewer.
   */
  async view(viewerId: string, storyId: string): Promise<{ new_view: boolean }> {
    if (!isUuid(storyId)) throw storyNotFound({});
    if (await this.#seen.has(viewerId, storyId)) {
      storyViewsRepeated.inc();
      storyViewsSpared.inc();
      return { new_view: false };
    }
    const pair = { story_id: storyId, viewer_id: viewerId };
    let view: RecordedView | undefined;
    const answer = await this.#whenFree(viewerId, () =>
      withAnswer(this.#context.db, 200, async (db) => {
        view = await this.#recordOne(db, pair);
        return { new_view: this.#isNew(view) };
      }),
    );
    if (answer.new_view) await this.#tellTray(view);
    (answer.new_view ? storyViews : storyViewsRepeated).inc();
    return answer;
  }

  /**
   * Reacts to a story, in the place of what one's reaction was. Who had not seen it has now.
   * @throws 404 as above, 422 for what is not one emoji, and for one's own story.
   */
  async react(viewerId: string, storyId: string, emoji: string): Promise<{ reaction: string }> {
    if (!isUuid(storyId)) throw storyNotFound({});
    const answer = { reaction: oneEmoji(emoji) };
    const pair = { story_id: storyId, viewer_id: viewerId };
    const view = await this.#whenFree(viewerId, () =>
      inTransaction(this.#context.db, async (tx) => {
        const view = await this.#recordOne(tx, pair);
        if (view.own) throw cannotReactToOwn({});
        if (!(await setReaction(tx, pair, answer.reaction))) throw storyNotFound({});
        await keepAnswer(tx, 200, answer);
        return view;
      }),
    );
    if (view.new_view) {
      storyViews.inc();
      await this.#tellTray(view);
    }
    return answer;
  }

  /**
   * Takes one's reaction back, also of a story that is over or not for one any more; that one has seen it stays. Idempotent.
   * @throws 404 for what one has not seen and does not see.
   */
  async unreact(viewerId: string, storyId: string): Promise<{ reaction: null }> {
    const { db } = this.#context;
    if (!isUuid(storyId)) throw storyNotFound({});
    const seen = await setReaction(db, { story_id: storyId, viewer_id: viewerId }, null);
    if (!seen) await requireStory(db, viewerId, storyId);
    return { reaction: null };
  }

  /** In the given transaction, or with others where there is none. @throws 404, ViewerHeldError */
  async #recordOne(db: Db, pair: ViewPair): Promise<RecordedView> {
    const key = keyOf(pair);
    const [view] = db === this.#context.db ? (await this.#batched([key])).values() : await recordViews(db, [pair]);
    if (!view) throw storyNotFound({});
    if (view.viewer_held) throw new ViewerHeldError();
    return view;
  }

  /**
   * Does what waits for a viewer's account without holding anything meanwhile: with the story in hand, all who look at it
   * would wait too, and in a batch all who look at anything.
   */
  async #whenFree<T>(viewerId: string, work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof ViewerHeldError)) throw error;
      }
      const free =
        this.#held.get(viewerId) ?? untilFree(this.#context.db, viewerId).finally(() => this.#held.delete(viewerId));
      this.#held.set(viewerId, free);
      await free;
    }
  }

  async #record(pairs: readonly string[]): Promise<Map<string, RecordedView>> {
    const asked = this.#seen.ask();
    const views = await recordViews(this.#context.db, pairs.map(pairOf));
    void this.#seen.keep(
      asked,
      views.filter(({ viewer_held }) => !viewer_held),
    );
    return new Map(views.map((view) => [keyOf(view), view]));
  }

  /** After the commit, so that the viewer's next tray has it. */
  async #tellTray(view: RecordedView | undefined): Promise<void> {
    if (view?.xid) await markViewed(this.#context, [view.viewer_id], view.xid);
  }

  #isNew(view: RecordedView): boolean {
    if (!view.new_view || this.#told.has(view)) return false;
    this.#told.add(view);
    return true;
  }
}

function keyOf({ story_id, viewer_id }: ViewPair): string {
  return `${story_id} ${viewer_id}`;
}

function pairOf(key: string): ViewPair {
  const [story_id = "", viewer_id = ""] = key.split(" ");
  return { story_id, viewer_id };
}

/** U+FE0F, which asks for the picture of what is a sign as well: many keyboards leave it out. */
const AS_PICTURE = "\uFE0F";
/** One of those that Unicode recommends, sequences of several code points included: https://www.unicode.org/reports/tr51/ */
const EMOJI = /^\p{RGI_Emoji}$/v;

/** @throws 422 */
function oneEmoji(text: string): string {
  const found = [text, text + AS_PICTURE].find((one) => EMOJI.test(one));
  if (found === undefined) throw reactionInvalid({});
  return found;
}
