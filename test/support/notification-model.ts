/**
 * The rules of docs/notifications.md in memory: who is told what, and what of it is there later. A test's oracle, so nothing
 * of the product is in it. People and posts are numbers; comments are numbers in the order in which they were made.
 */

export type Type =
  | "follow"
  | "follow_request"
  | "follow_approved"
  | "like"
  | "comment"
  | "reply"
  | "mention"
  | "comment_like";

export const TYPES: readonly Type[] = [
  ...(["follow", "follow_request", "follow_approved", "like"] as const),
  ...(["comment", "reply", "mention", "comment_like"] as const),
];

/** One thing that one person did, as another was told it. */
interface Act {
  type: Type;
  subject: string;
  actor: number;
  post: number | null;
  comment: number | null;
  /** Rises with each act of all. */
  when: number;
}

export interface ShownNotification {
  type: Type;
  /** The latest three. */
  actors: number[];
  actor_count: number;
  post: number | null;
  comment: number | null;
  read: boolean;
}

interface Person {
  active: boolean;
  isPrivate: boolean;
  off: Set<Type>;
  acts: Act[];
  /** What is up to here is read. */
  readUpTo: number;
  /** When the list was seen last, and what was in it, the latest first. */
  seen: { when: number; keys: string[] };
}

export class NotificationModel {
  readonly people: Person[];
  /** Pairs as `1>2`: 1 follows, asks, blocks or mutes 2. */
  readonly follows = new Set<string>();
  readonly requests = new Set<string>();
  readonly blocks = new Set<string>();
  readonly mutes = new Set<string>();
  readonly posts: { author: number; there: boolean; likes: Set<number>; mentions: Set<number> }[];
  readonly comments: { author: number; post: number; parent: number | null; there: boolean; likes: Set<number> }[] = [];
  private clock = 0;

  constructor(people: number, authors: readonly number[]) {
    this.people = Array.from({ length: people }, () => ({
      active: true,
      isPrivate: false,
      off: new Set<Type>(),
      acts: [],
      readUpTo: 0,
      seen: { when: 0, keys: [] },
    }));
    this.posts = authors.map((author) => ({ author, there: true, likes: new Set(), mentions: new Set() }));
  }

  person(who: number): Person {
    const person = this.people[who];
    if (!person) throw new Error(`there is no person ${who}`);
    return person;
  }

  isApart(one: number, other: number): boolean {
    return this.blocks.has(`${one}>${other}`) || this.blocks.has(`${other}>${one}`);
  }

  private sees(viewer: number, post: number): boolean {
    const { author = -1, there = false } = this.posts[post] ?? {};
    if (!there) return false;
    if (viewer === author) return true;
    const { active, isPrivate } = this.person(author);
    return active && !this.isApart(viewer, author) && (!isPrivate || this.follows.has(`${viewer}>${author}`));
  }

  /** Whether the comment, where it is a reply, hangs below one that the viewer is shown. */
  private seesThread(viewer: number, comment: number): boolean {
    const { parent = null } = this.comments[comment] ?? {};
    const { author = viewer } = (parent === null ? undefined : this.comments[parent]) ?? {};
    return this.person(author).active && !this.isApart(viewer, author);
  }

  /** Tells it to somebody, unless there is a reason not to. @returns whether there was none. */
  tell(whom: number, act: Omit<Act, "when" | "post" | "comment"> & Partial<Pick<Act, "post" | "comment">>): boolean {
    const person = this.person(whom);
    const { post = null, comment = null } = act;
    const hidden =
      act.actor === whom ||
      !person.active ||
      !this.person(act.actor).active ||
      this.isApart(whom, act.actor) ||
      this.mutes.has(`${whom}>${act.actor}`) ||
      person.off.has(act.type) ||
      (post !== null && !this.sees(whom, post)) ||
      (comment !== null && !this.seesThread(whom, comment));
    if (hidden) return false;
    const several = act.type === "comment" || act.type === "reply";
    const known = person.acts.some(
      (one) =>
        one.type === act.type &&
        one.subject === act.subject &&
        one.actor === act.actor &&
        (!several || one.comment === comment),
    );
    if (!known) person.acts.push({ ...act, post, comment, when: ++this.clock });
    return true;
  }

  /** Takes out what somebody was told. */
  forget(whom: number, which: (act: Act) => boolean): void {
    const person = this.person(whom);
    person.acts = person.acts.filter((act) => !which(act));
  }

  forgetAll(which: (act: Act) => boolean): void {
    for (const who of this.people.keys()) this.forget(who, which);
  }

  /** What somebody's list shows, the latest first. */
  list(who: number): ShownNotification[] {
    return this.groups(who).map(({ acts, latest }) => {
      const actors = [...new Set(acts.map((act) => act.actor))];
      return {
        type: latest.type,
        actors: actors.slice(0, 3),
        actor_count: actors.length,
        post: latest.post,
        comment: latest.comment,
        read: latest.when <= this.person(who).readUpTo,
      };
    });
  }

  /** Somebody sees their list. */
  look(who: number): void {
    this.person(who).seen = { when: this.clock, keys: this.groups(who).map(({ latest }) => keyOf(latest)) };
  }

  /**
   * Marks what was at this place of the list when it was seen last, and all below it, as read: not what has happened
   * since. All without a place.
   */
  read(who: number, place: number | null): void {
    const { seen } = this.person(who);
    const acts =
      this.groups(who).find(({ latest }) => place !== null && keyOf(latest) === seen.keys[place])?.acts ?? [];
    const upTo = place === null ? this.clock : (acts.find(({ when }) => when <= seen.when)?.when ?? 0);
    this.person(who).readUpTo = Math.max(this.person(who).readUpTo, upTo);
  }

  private groups(who: number): { acts: Act[]; latest: Act }[] {
    const seen = this.person(who).acts.filter(
      ({ actor, post }) => this.person(actor).active && (post === null || this.sees(who, post)),
    );
    const bySubject = Map.groupBy(
      seen.toSorted((a, b) => b.when - a.when),
      keyOf,
    );
    return [...bySubject.values()].flatMap((acts) => (acts[0] ? [{ acts, latest: acts[0] }] : []));
  }
}

const keyOf = ({ type, subject }: { type: Type; subject: string }) => `${type} ${subject}`;
