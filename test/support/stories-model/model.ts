/** What the contract says of stories, in memory: nothing of the product is in it. */
import type pg from "pg";
import { copyOf, type GraphModel, type GraphOperation, perform, shown, storedGraph } from "../graph-model.ts";

export const AUDIENCE_CHANGES = {
  befriend: ["POST", "/me/close-friends/NAME"],
  unfriend: ["DELETE", "/me/close-friends/NAME"],
  hide: ["POST", "/me/story-hides/NAME"],
  unhide: ["DELETE", "/me/story-hides/NAME"],
} as const;
export type AudienceChange = keyof typeof AUDIENCE_CHANGES;
interface ListOperation {
  who: string;
  change: AudienceChange;
  whom: string;
}
export type AudienceOperation = GraphOperation | ListOperation;

/** Whether it is about those two lists, and not about the graph. */
export function isOfLists(operation: AudienceOperation): operation is ListOperation {
  return operation.change in AUDIENCE_CHANGES;
}

/** Pairs as `ana>ben`: ben is ana's close friend, or ana hides her stories from ben. */
export interface AudienceModel extends GraphModel {
  closeFriends: Set<string>;
  hides: Set<string>;
}

export const noAudience = (): AudienceModel => ({
  isPrivate: new Set(),
  follows: new Set(),
  requests: new Set(),
  blocks: new Set(),
  mutes: new Set(),
  closeFriends: new Set(),
  hides: new Set(),
});

export const copyOfAudience = (model: AudienceModel): AudienceModel => ({
  ...copyOf(model),
  closeFriends: new Set(model.closeFriends),
  hides: new Set(model.hides),
});

/** To compare two of them by. */
export const shownAudience = (model: AudienceModel) =>
  `${shown(model)} ${JSON.stringify([[...model.closeFriends].sort(), [...model.hides].sort()])}`;

/** Does the operation to the model. @returns what the contract says is answered. */
export function performAudience(model: AudienceModel, operation: AudienceOperation): unknown {
  if (!isOfLists(operation)) {
    const { who } = operation;
    if ("whom" in operation && operation.change === "block" && !model.blocks.has(`${operation.whom}>${who}`)) {
      for (const pair of [`${who}>${operation.whom}`, `${operation.whom}>${who}`]) model.closeFriends.delete(pair);
    }
    return perform(model, operation);
  }
  const { who, change, whom } = operation;
  const pair = `${who}>${whom}`;
  if (model.blocks.has(`${whom}>${who}`)) return 404;
  switch (change) {
    case "befriend":
      if (model.blocks.has(pair)) return 403;
      model.closeFriends.add(pair);
      return true;
    case "unfriend":
      model.closeFriends.delete(pair);
      return false;
    case "hide":
      model.hides.add(pair);
      return true;
    case "unhide":
      model.hides.delete(pair);
      return false;
  }
}

/** What the rows say, once no job of the graph is left to do. */
export async function storedAudience(sql: pg.Pool): Promise<AudienceModel> {
  const pairs = async (table: string, to: string) => {
    const { rows } = await sql.query(
      `SELECT a.username || '>' || b.username AS pair FROM ${table}
       JOIN users a ON a.id = owner_id JOIN users b ON b.id = ${to}`,
    );
    return new Set(rows.map((row) => String(row.pair)));
  };
  return {
    ...(await storedGraph(sql)),
    closeFriends: await pairs("close_friends", "friend_id"),
    hides: await pairs("story_hides", "hidden_id"),
  };
}

export interface ModelView {
  reaction: string | null;
  /** When it was learned of. */
  at: number;
}

/** Times are milliseconds of the database's clock. */
export interface ModelStory {
  id: string;
  /** Names, here and below. */
  author: string;
  audience: "everyone" | "close_friends";
  kept: boolean;
  /** When its upload was answered. */
  posted: number;
  /** Null until it is known to be; it may be shown all the same. */
  published: { at: number; expires: number; mediumId: string } | null;
  deleted: boolean;
  /** Those who have seen it, its author never. */
  viewers: Map<string, ModelView>;
  /** A cleanup may have removed it. */
  due: boolean;
}

/** Whether something is so, is not, or may be either way: it begins or ends just while it is asked. */
export type Certainty = "yes" | "no" | "maybe";

/** A time that something took: it was asked after `from` and answered before `to`. */
export interface Span {
  from: number;
  to: number;
}

export class StoriesModel {
  audience = noAudience();
  readonly stories = new Map<string, ModelStory>();

  /** Whether an author's stories of this audience are for a viewer, as far as it is about people. */
  isFor(viewer: string, { author, audience }: Pick<ModelStory, "author" | "audience">, of = this.audience): boolean {
    if (!this.sees(viewer, author, of)) return false;
    if (viewer === author) return true;
    const pair = `${author}>${viewer}`;
    return !of.hides.has(pair) && (audience === "everyone" || of.closeFriends.has(pair));
  }

  /** Whether a viewer sees what an author shares. */
  sees(viewer: string, author: string, of = this.audience): boolean {
    if (viewer === author) return true;
    const [out, back] = [`${viewer}>${author}`, `${author}>${viewer}`];
    if (of.blocks.has(out) || of.blocks.has(back)) return false;
    return !of.isPrivate.has(author) || of.follows.has(out);
  }

  /** Whether a story of this author stands in a viewer's tray. */
  isInTray(viewer: string, story: Pick<ModelStory, "author" | "audience">, of = this.audience): boolean {
    const pair = `${viewer}>${story.author}`;
    const followed = viewer === story.author || (of.follows.has(pair) && !of.mutes.has(pair));
    return followed && this.isFor(viewer, story, of);
  }

  /** Whether it is published and not over. */
  isOn({ published, deleted }: ModelStory, { from, to }: Span): Certainty {
    if (deleted) return "no";
    if (published === null) return "maybe";
    if (published.expires > to) return "yes";
    return published.expires <= from ? "no" : "maybe";
  }

  /** Whether a viewer finds it by its id. */
  isShown(viewer: string, story: ModelStory, span: Span): Certainty {
    if (story.published === null && viewer === story.author) return story.deleted ? "no" : "yes";
    return this.isFor(viewer, story) ? this.isOn(story, span) : "no";
  }

  /** Whether its author still has it: not over, or kept. */
  isOwned(story: ModelStory, span: Span): Certainty {
    if (!story.deleted && (story.kept || story.published === null)) return "yes";
    return this.isOn(story, span);
  }

  /** An author's stories in the order in which they are to be seen. */
  storiesOf(author: string): ModelStory[] {
    const key = ({ published, id }: ModelStory) => `${published?.at ?? Number.MAX_SAFE_INTEGER} ${id}`;
    return [...this.stories.values()]
      .filter((story) => story.author === author && !story.deleted)
      .sort((one, other) => (key(one) < key(other) ? -1 : 1));
  }
}
