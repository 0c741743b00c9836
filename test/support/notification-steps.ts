/** Random steps of several people, done to the model and told to the product as the features that know would tell it. */
import fc from "fast-check";
import { type NotificationModel, TYPES, type Type } from "./notification-model.ts";

/** What happened, in the events' words but with numbers for ids. */
export interface Happening {
  event: string;
  /** Fields that hold a person, people, a post, a comment or comments. */
  data: Record<string, unknown>;
}

export type Step =
  | {
      do: "follow" | "unfollow" | "approve" | "deny" | "block" | "unblock" | "mute" | "unmute";
      who: number;
      whom: number;
    }
  /** What a roll-up tells at once: each of them likes the post or does not any more, in this order. */
  | { do: "likes"; changes: { post: number; who: number }[] }
  | { do: "comment"; who: number; post: number; parent: number | null; mentions: number[] }
  | { do: "delete comment"; comment: number }
  | { do: "like comment"; who: number; comment: number }
  | { do: "caption"; post: number; mentions: number[] }
  | { do: "delete post"; post: number }
  | { do: "private" | "public" | "suspend" | "unsuspend"; who: number }
  | { do: "look"; who: number }
  /** `place` is one of the list that was looked at last. */
  | { do: "read"; who: number; place: number | null }
  | { do: "preference"; who: number; type: Type; on: boolean };

export function stepOf(people: number, posts: number): fc.Arbitrary<Step> {
  const who = fc.nat(people - 1);
  const post = fc.nat(posts - 1);
  const some = fc.uniqueArray(who, { maxLength: 3 });
  const comment = fc.nat(99);
  const changes = fc.uniqueArray(fc.record({ post, who }), {
    ...{ maxLength: 6, selector: (one: { post: number; who: number }) => `${one.post} ${one.who}` },
  });
  const change = (...names: Extract<Step, { whom: number }>["do"][]) =>
    fc.record({ do: fc.constantFrom(...names), who, whom: who });
  return fc.oneof(
    { weight: 5, arbitrary: change("follow", "follow", "unfollow", "approve", "deny") },
    { weight: 2, arbitrary: change("block", "unblock", "mute", "unmute", "unblock", "unmute") },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("likes" as const), changes }) },
    {
      weight: 6,
      arbitrary: fc.record({
        ...{ do: fc.constant("comment" as const), who, post, parent: fc.option(comment), mentions: some },
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("delete comment" as const), comment }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("like comment" as const), who, comment }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("caption" as const), post, mentions: some }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("delete post" as const), post }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constantFrom("private" as const, "public" as const, "suspend" as const, "unsuspend" as const),
        who,
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("look" as const), who }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("read" as const), who, place: fc.option(fc.nat(4)) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        ...{ do: fc.constant("preference" as const), who, type: fc.constantFrom(...TYPES), on: fc.boolean() },
      }),
    },
  );
}

/** Does a step to the model. @returns what happened, nothing where the features would not let it happen. */
export function perform(model: NotificationModel, step: Step, today: string): Happening[] {
  switch (step.do) {
    case "likes":
      return like(model, step);
    case "comment":
      return comment(model, step);
    case "delete comment":
      return deleteComment(model, step.comment);
    case "like comment":
      return likeComment(model, step);
    case "caption":
      return changeCaption(model, step);
    case "delete post":
      return deletePost(model, step.post);
    case "private":
      return changePrivacy(model, step.who, true, today);
    case "public":
      return changePrivacy(
        model,
        oneOf(model, ({ isPrivate }) => isPrivate, step.who),
        false,
        today,
      );
    case "suspend":
      return changeState(model, step.who, false);
    case "unsuspend":
      return changeState(
        model,
        oneOf(model, ({ active }) => !active, step.who),
        true,
      );
    case "look":
      model.look(step.who);
      return [];
    case "read":
      model.read(step.who, step.place);
      return [];
    case "preference":
      model.person(step.who).off[step.on ? "delete" : "add"](step.type);
      return [];
    default:
      return betweenTwo(model, step, today);
  }
}

function betweenTwo(model: NotificationModel, step: Extract<Step, { whom: number }>, today: string): Happening[] {
  const { who, whom } = step;
  const [out, back] = [`${who}>${whom}`, `${whom}>${who}`];
  if (who === whom || !model.person(who).active || !model.person(whom).active || model.blocks.has(back)) return [];
  switch (step.do) {
    case "follow":
      if (model.blocks.has(out) || model.follows.has(out)) return [];
      if (!model.person(whom).isPrivate)
        return [...endRequest(model, who, whom), ...startFollow(model, who, whom, today)];
      if (model.requests.has(out)) return [];
      model.requests.add(out);
      model.tell(whom, { type: "follow_request", subject: "", actor: who });
      return [{ event: "follow.requested", data: { follower_id: who, following_id: whom } }];
    case "unfollow":
      return [...endRequest(model, who, whom), ...endFollow(model, who, whom)];
    case "approve":
      return model.requests.has(back) ? approve(model, whom, who, today) : [];
    case "deny":
      return endRequest(model, whom, who);
    case "block": {
      if (model.blocks.has(out)) return [];
      model.blocks.add(out);
      const ended = [[who, whom] as const, [whom, who] as const].flatMap((pair) => [
        ...endRequest(model, ...pair),
        ...endFollow(model, ...pair),
      ]);
      model.forget(who, ({ actor }) => actor === whom);
      model.forget(whom, ({ actor }) => actor === who);
      return [...ended, { event: "account.blocked", data: { blocker_id: who, blocked_id: whom } }];
    }
    case "unblock":
      model.blocks.delete(out);
      return [{ event: "account.unblocked", data: { blocker_id: who, blocked_id: whom } }];
    case "mute":
      model.mutes.add(out);
      model.forget(who, ({ actor }) => actor === whom);
      return [{ event: "account.muted", data: { muter_id: who, muted_id: whom } }];
    case "unmute":
      model.mutes.delete(out);
      return [{ event: "account.unmuted", data: { muter_id: who, muted_id: whom } }];
  }
}

function startFollow(model: NotificationModel, who: number, whom: number, today: string): Happening[] {
  model.follows.add(`${who}>${whom}`);
  model.forget(whom, ({ type, actor }) => type === "follow_request" && actor === who);
  model.tell(whom, { type: "follow", subject: today, actor: who });
  return [{ event: "follow.started", data: { follower_id: who, following_id: whom } }];
}

function endFollow(model: NotificationModel, who: number, whom: number): Happening[] {
  if (!model.follows.delete(`${who}>${whom}`)) return [];
  model.forget(whom, ({ type, actor }) => type === "follow" && actor === who);
  model.forget(who, ({ type, actor }) => type === "follow_approved" && actor === whom);
  return [{ event: "follow.ended", data: { follower_id: who, following_id: whom } }];
}

function endRequest(model: NotificationModel, who: number, whom: number): Happening[] {
  if (!model.requests.delete(`${who}>${whom}`)) return [];
  model.forget(whom, ({ type, actor }) => type === "follow_request" && actor === who);
  return [{ event: "follow.request_ended", data: { follower_id: who, following_id: whom } }];
}

/** The request was answered; no `follow.request_ended` is told then. */
function approve(model: NotificationModel, who: number, whom: number, today: string): Happening[] {
  model.requests.delete(`${who}>${whom}`);
  const started = startFollow(model, who, whom, today);
  model.tell(who, { type: "follow_approved", subject: today, actor: whom });
  return [...started, { event: "follow.approved", data: { follower_id: who, following_id: whom } }];
}

/** Of the people of whom this is true, or whoever else where there are none. */
function oneOf(
  model: NotificationModel,
  is: (person: NotificationModel["people"][number]) => boolean,
  n: number,
): number {
  const them = [...model.people.keys()].filter((who) => is(model.person(who)));
  return them[n % them.length] ?? n;
}

function changeState(model: NotificationModel, who: number, active: boolean): Happening[] {
  const person = model.person(who);
  if (person.active === active) return [];
  person.active = active;
  return [{ event: active ? "account.unsuspended" : "account.suspended", data: { user_id: who } }];
}

function changePrivacy(model: NotificationModel, who: number, isPrivate: boolean, today: string): Happening[] {
  const person = model.person(who);
  if (!person.active) return [];
  person.isPrivate = isPrivate;
  if (isPrivate) return [];
  const waiting = [...model.people.keys()].filter((other) => model.requests.has(`${other}>${who}`));
  return waiting.flatMap((other) => approve(model, other, who, today));
}

/** Told by post, so that only the times say what came first. */
function like(model: NotificationModel, { changes }: { changes: { post: number; who: number }[] }): Happening[] {
  const posts = [...model.posts.keys()].flatMap((post) => {
    const { author = -1, there = false, likes = new Set() } = model.posts[post] ?? {};
    const of = changes.flatMap((one, at) => (there && one.post === post ? [{ user_id: one.who, at }] : []));
    const unliked = of.filter(({ user_id }) => likes.has(user_id)).map(({ user_id }) => user_id);
    const liked = of.filter(({ user_id }) => !likes.has(user_id));
    return of.length === 0 ? [] : [{ post_id: post, author_id: author, liked, unliked }];
  });
  for (const { post, who } of changes) {
    const shown = model.posts[post];
    if (!shown?.there) continue;
    if (shown.likes.delete(who)) {
      model.forget(shown.author, (act) => act.type === "like" && act.post === post && act.actor === who);
    } else {
      shown.likes.add(who);
      model.tell(shown.author, { type: "like", subject: `${post}`, actor: who, post });
    }
  }
  return posts.length === 0 ? [] : [{ event: "likes.rolled_up", data: { posts } }];
}

function comment(model: NotificationModel, step: Extract<Step, { do: "comment" }>): Happening[] {
  const { who, post } = step;
  const shown = model.posts[post];
  if (!shown?.there || !model.person(who).active) return [];
  const onPost = model.comments.flatMap((one, n) => (one.there && one.post === post && one.parent === null ? [n] : []));
  const parentId = step.parent === null ? null : (onPost[step.parent % onPost.length] ?? null);
  const parent = parentId === null ? undefined : model.comments[parentId];
  const id = model.comments.length;
  model.comments.push({ author: who, post, parent: parentId, there: true, likes: new Set() });
  const told = new Set<number>();
  const tell = (whom: number, type: Type, subject: string) => {
    if (!told.has(whom) && model.tell(whom, { type, subject, actor: who, post, comment: id })) told.add(whom);
  };
  if (parent) tell(parent.author, "reply", `${parentId}`);
  tell(shown.author, "comment", `${post}`);
  const mentions = step.mentions.filter((whom) => whom !== who);
  for (const whom of mentions) tell(whom, "mention", `comment ${id}`);
  const data = { comment_id: id, post_id: post, author_id: who };
  const created = {
    event: "comment.created",
    data: {
      ...data,
      post_author_id: shown.author,
      parent_id: parentId,
      parent_author_id: parent?.author ?? null,
    },
  };
  const mentioned = { event: "mentions.changed", data: { ...data, added: mentions, removed: [] } };
  return [created, mentioned];
}

/** One of those that are there. */
function someComment(model: NotificationModel, n: number): number {
  const there = model.comments.flatMap((one, id) => (one.there ? [id] : []));
  return there[n % there.length] ?? -1;
}

function deleteComment(model: NotificationModel, n: number): Happening[] {
  const which = someComment(model, n);
  const gone = [...model.comments.keys()].filter((id) => {
    const one = model.comments[id];
    return one?.there && (id === which || one.parent === which);
  });
  const post = model.comments[which]?.post;
  if (gone.length === 0 || post === undefined) return [];
  removeComments(model, gone);
  return [{ event: "comments.deleted", data: { post_id: post, comment_ids: gone } }];
}

function removeComments(model: NotificationModel, gone: readonly number[]): void {
  for (const id of gone) {
    const one = model.comments[id];
    if (one) one.there = false;
  }
  model.forgetAll((act) => act.comment !== null && gone.includes(act.comment));
}

function likeComment(model: NotificationModel, { who, comment: n }: { who: number; comment: number }): Happening[] {
  const id = someComment(model, n);
  const one = model.comments[id];
  if (!one?.there || !model.person(who).active) return [];
  const data = { comment_id: id, post_id: one.post, author_id: one.author, user_id: who };
  if (one.likes.delete(who)) {
    model.forget(one.author, (act) => act.type === "comment_like" && act.comment === id && act.actor === who);
    return [{ event: "comment.unliked", data }];
  }
  one.likes.add(who);
  model.tell(one.author, { type: "comment_like", subject: `${id}`, actor: who, post: one.post, comment: id });
  return [{ event: "comment.liked", data }];
}

function changeCaption(
  model: NotificationModel,
  { post, mentions }: { post: number; mentions: number[] },
): Happening[] {
  const shown = model.posts[post];
  if (!shown?.there || !model.person(shown.author).active) return [];
  const wanted = new Set(mentions.filter((whom) => whom !== shown.author));
  const added = [...wanted].filter((whom) => !shown.mentions.has(whom));
  const removed = [...shown.mentions].filter((whom) => !wanted.has(whom));
  shown.mentions = wanted;
  for (const whom of removed)
    model.forget(whom, (act) => act.type === "mention" && act.post === post && act.comment === null);
  for (const whom of added) model.tell(whom, { type: "mention", subject: `post ${post}`, actor: shown.author, post });
  return [
    { event: "mentions.changed", data: { post_id: post, comment_id: null, author_id: shown.author, added, removed } },
  ];
}

function deletePost(model: NotificationModel, post: number): Happening[] {
  const shown = model.posts[post];
  if (!shown?.there || !model.person(shown.author).active) return [];
  shown.there = false;
  removeComments(
    model,
    [...model.comments.keys()].filter((id) => model.comments[id]?.post === post),
  );
  model.forgetAll((act) => act.post === post);
  return [{ event: "post.deleted", data: { post_id: post, author_id: shown.author } }];
}
