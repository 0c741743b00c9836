import type { Answer, Json } from "../client.ts";
import type { Certainty, ModelStory, Span, StoriesModel } from "./model.ts";

/** Something that was asked of a server by a viewer. */
export interface Read {
  viewer: string;
  server: number;
  span: Span;
  answer: Answer;
}

export function wrong({ viewer, server, answer }: Omit<Read, "span">, what: string): Error {
  return new Error(`${viewer}, server ${server}: ${what}: ${answer.status} ${answer.bytes}`);
}

/** Holds a status to what is certain. @throws where it is neither of those that may be. */
export function checkStatus(read: Read, what: string, is: Certainty, statuses: { yes: number; no: number }): void {
  const { status } = read.answer;
  const allowed = is === "maybe" ? [statuses.yes, statuses.no] : [statuses[is]];
  if (!allowed.includes(status)) throw wrong(read, `${what} must be ${allowed.join(" or ")}`);
}

/** A story as a viewer is shown it. */
export function checkStory(read: Read, story: ModelStory, body: Json): void {
  const isOwn = read.viewer === story.author;
  const expected = {
    id: story.id,
    author: story.author,
    audience: story.audience,
    seen: isOwn || story.viewers.has(read.viewer),
    view_count: isOwn ? story.viewers.size : null,
    ...(story.published && {
      status: "published",
      published_at: new Date(story.published.at).toISOString(),
      expires_at: new Date(story.published.expires).toISOString(),
    }),
  };
  const found: Json = { ...body, author: body.author.username };
  for (const [name, value] of Object.entries(expected)) {
    if (found[name] !== value) throw wrong(read, `${name} of ${story.id} must be ${value}`);
  }
}

/** An author's list: what it must have is in it, nothing else, and in order. */
export function checkList(model: StoriesModel, read: Read, author: string): void {
  const { viewer, span, answer } = read;
  checkStatus(read, `the list of ${author}`, model.sees(viewer, author) ? "yes" : "no", { yes: 200, no: 404 });
  if (answer.status === 404) return;
  const items: Json[] = answer.body.items;
  const byId = new Map(items.map((item) => [item.id, item]));
  if (byId.size !== items.length) throw wrong(read, `${author}'s list has something twice`);
  const order: string[] = [];
  for (const story of model.storiesOf(author)) {
    // One that is being processed is in no list, also not in its author's.
    const is = model.isFor(viewer, story) ? model.isOn(story, span) : "no";
    const item = byId.get(story.id);
    if (is === "yes" && !item) throw wrong(read, `${author}'s list lacks ${story.id}`);
    if (!item) continue;
    if (is === "no") throw wrong(read, `${author}'s list has ${story.id}, which it must not`);
    checkStory(read, story, item);
    if (story.published) order.push(story.id);
    byId.delete(story.id);
  }
  if (byId.size > 0) throw wrong(read, `${author}'s list has ${[...byId.keys()]}, which is not there`);
  const shown = items.map(({ id }) => id).filter((id) => order.includes(id));
  if (String(shown) !== String(order)) throw wrong(read, `${author}'s list must be in the order ${order}`);
}

/** What a tray may lag behind. */
export interface Lag {
  /** Milliseconds within which it shows a view, a new story, the end of one, and that a viewer sees an author again. */
  ms: number;
  /** When a viewer came to have an author's stories in the tray, by `viewer>author`. */
  gained: ReadonlyMap<string, number>;
}

/** A viewer's tray: right but for what may lag; what a viewer must not see is in none. */
export function checkTray(model: StoriesModel, read: Read, lag: Lag): void {
  const { viewer, span, answer } = read;
  if (answer.status !== 200) throw wrong(read, "the tray");
  const items: Json[] = answer.body.items;
  const byAuthor = new Map(items.map((item) => [item.user.username, item]));
  if (byAuthor.size !== items.length) throw wrong(read, "the tray has an author twice");
  for (const author of new Set([...model.stories.values()].map(({ author }) => author))) {
    const expected = { certain: 0, possible: 0, mustBeUnseen: false, mayBeUnseen: false, times: new Set<string>() };
    let latestCertain = "";
    for (const story of model.storiesOf(author)) {
      if (!model.isInTray(viewer, story)) continue;
      const is = inTray(model, { viewer, story, span, lag });
      if (is === "no") continue;
      expected.possible++;
      const at = story.published && new Date(story.published.at).toISOString();
      const view = story.viewers.get(viewer);
      if (viewer !== author && (!view || view.at + lag.ms > span.from)) expected.mayBeUnseen = true;
      expected.times.add(at ?? "any");
      if (is === "maybe") continue;
      expected.certain++;
      if (viewer !== author && !view) expected.mustBeUnseen = true;
      if (at !== null && at > latestCertain) latestCertain = at;
    }
    const item = byAuthor.get(author);
    byAuthor.delete(author);
    const fail = (what: string) => wrong(read, `the tray's entry of ${author} ${what} (${JSON.stringify(expected)})`);
    if (!item && expected.certain > 0) throw fail("is missing");
    if (!item) continue;
    const { count, has_unseen, latest_story_at } = item;
    if (expected.possible === 0) throw fail("must not be there");
    if (count < Math.max(1, expected.certain) || count > expected.possible) throw fail(`counts ${count}`);
    if (expected.mustBeUnseen ? !has_unseen : has_unseen && !expected.mayBeUnseen) throw fail(`says ${has_unseen}`);
    if (latest_story_at < latestCertain) throw fail(`dates ${latest_story_at}`);
    if (!expected.times.has(latest_story_at) && !expected.times.has("any")) throw fail(`dates ${latest_story_at}`);
  }
  if (byAuthor.size > 0) throw wrong(read, `the tray has ${[...byAuthor.keys()]}, who posted nothing`);
  const key = ({ user, has_unseen, latest_story_at }: Json) =>
    `${user.username === viewer ? 2 : 1}${has_unseen ? 2 : 1}${latest_story_at}`;
  const keys = items.map(key);
  if (String(keys) !== String(keys.toSorted().reverse())) throw wrong(read, "the tray's order");
}

function inTray(
  model: StoriesModel,
  { viewer, story, span, lag }: { viewer: string; story: ModelStory; span: Span; lag: Lag },
): Certainty {
  const { published, author } = story;
  const is = model.isOn(story, { from: span.from - lag.ms, to: span.to });
  if (is !== "yes" || published === null) return is;
  const gained = lag.gained.get(`${viewer}>${author}`) ?? 0;
  return Math.max(published.at, gained) + lag.ms > span.from && lag.ms > 0 ? "maybe" : "yes";
}

/** The list of those who have seen a story. */
export function checkViewers(model: StoriesModel, read: Read, story: ModelStory): void {
  const { viewer, span, answer } = read;
  const { blocks } = model.audience;
  if (viewer !== story.author) {
    checkStatus(read, `the viewers of ${story.id}`, model.isShown(viewer, story, span), { yes: 403, no: 404 });
    return;
  }
  checkStatus(read, `the viewers of ${story.id}`, model.isOwned(story, span), { yes: 200, no: 404 });
  if (answer.status === 404) return;
  const { items, view_count } = answer.body;
  if (view_count !== story.viewers.size) throw wrong(read, `${story.id} has ${story.viewers.size} views`);
  const expected = [...story.viewers]
    .filter(([name]) => !blocks.has(`${viewer}>${name}`) && !blocks.has(`${name}>${viewer}`))
    .map(([name, { reaction }]) => `${name} ${reaction}`);
  const found = items.map(({ user, reaction }: Json) => `${user.username} ${reaction}`);
  if (String(found.toSorted()) !== String(expected.sort())) throw wrong(read, `${story.id} was seen by ${expected}`);
  const times = items.map(({ viewed_at }: Json) => viewed_at);
  if (String(times) !== String(times.toSorted().reverse())) throw wrong(read, `viewers of ${story.id} out of order`);
}
