import type { FastifyReply, FastifyRequest } from "fastify";
import type { TSchema } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { PageQuery, pageOf, pageRequest, sendPage } from "../../src/http/paging.ts";
import type { App, LimitName } from "../../src/http/types.ts";
import { UserParams, userNotFound } from "../accounts/index.ts";
import { mediaUrls } from "../tickets/index.ts";
import {
  addCloseFriend,
  approve,
  block,
  deny,
  follow,
  hideStories,
  mute,
  removeCloseFriend,
  removeFollower,
  requireSeen,
  showStories,
  unblock,
  unfollow,
  unmute,
} from "./graph.ts";
import {
  BlockAnswer,
  CloseFriendAnswer,
  FollowAnswer,
  MuteAnswer,
  Profile,
  RelatedUser,
  StoryHideAnswer,
  toRelatedUser,
} from "./schemas.ts";
import { type List, listPeople, profileByName } from "./store.ts";

const tags = ["Graph"];

/** What a viewer does to another account; to repeat it changes nothing. */
interface Change {
  method: "POST" | "DELETE";
  path: string;
  summary: string;
  description?: string;
  limit?: LimitName;
  answer: TSchema;
  change(context: Context, viewerId: string, username: string): Promise<object>;
}

const OF_THE_OTHER = "`status` is what the other now is to the viewer.";

const CHANGES: readonly Change[] = [
  {
    method: "POST",
    path: "/users/:username/follow",
    summary: "Follow a public account, or ask a private one",
    limit: "follow",
    answer: FollowAnswer,
    change: follow,
  },
  {
    method: "DELETE",
    path: "/users/:username/follow",
    summary: "Unfollow, or withdraw the request",
    answer: FollowAnswer,
    change: unfollow,
  },
  {
    method: "POST",
    path: "/follow-requests/:username/approve",
    summary: "Let somebody follow who asks to",
    description: OF_THE_OTHER,
    answer: FollowAnswer,
    change: approve,
  },
  {
    method: "POST",
    path: "/follow-requests/:username/deny",
    summary: "Refuse a request to follow; the other is not told",
    description: OF_THE_OTHER,
    answer: FollowAnswer,
    change: deny,
  },
  {
    method: "DELETE",
    path: "/me/followers/:username",
    summary: "Take a follower, or a request, away; the other is not told",
    description: OF_THE_OTHER,
    answer: FollowAnswer,
    change: removeFollower,
  },
  {
    method: "POST",
    path: "/users/:username/block",
    summary: "Block: ends follows and requests both ways, and hides each from the other",
    answer: BlockAnswer,
    change: block,
  },
  {
    method: "DELETE",
    path: "/users/:username/block",
    summary: "Unblock; what the block has ended stays ended",
    answer: BlockAnswer,
    change: unblock,
  },
  {
    method: "POST",
    path: "/users/:username/mute",
    summary: "Mute: keeps an account's posts out of the feed; the other is not told",
    answer: MuteAnswer,
    change: mute,
  },
  {
    method: "DELETE",
    path: "/users/:username/mute",
    summary: "Unmute",
    answer: MuteAnswer,
    change: unmute,
  },
  {
    method: "POST",
    path: "/me/close-friends/:username",
    summary: "Make a close friend, who sees the stories that are for those alone; the other is not told",
    answer: CloseFriendAnswer,
    change: addCloseFriend,
  },
  {
    method: "DELETE",
    path: "/me/close-friends/:username",
    summary: "Take somebody off the close friends; the other is not told",
    answer: CloseFriendAnswer,
    change: removeCloseFriend,
  },
  {
    method: "POST",
    path: "/me/story-hides/:username",
    summary: "Hide all of one's stories from somebody; the other is not told",
    answer: StoryHideAnswer,
    change: hideStories,
  },
  {
    method: "DELETE",
    path: "/me/story-hides/:username",
    summary: "Hide one's stories from somebody no longer",
    answer: StoryHideAnswer,
    change: showStories,
  },
];

export async function graphRoutes(app: App, context: Context): Promise<void> {
  const { config, db } = context;

  app.get(
    "/users/:username",
    {
      schema: { summary: "A profile, as the viewer may see it", tags, params: UserParams, response: { 200: Profile } },
    },
    async (request) => {
      const viewer = viewerOf(request);
      const { username } = request.params;
      const profile = await profileByName(db, viewer.id, username);
      if (!profile) throw userNotFound({ username });
      const { bio, is_private, post_count, follower_count, following_count } = profile;
      const user = toRelatedUser(profile, await mediaUrls(context, viewer.id));
      return { ...user, bio, is_private, post_count, follower_count, following_count };
    },
  );

  for (const { method, path, summary, description, limit, answer, change } of CHANGES) {
    app.route({
      method,
      url: path,
      config: limit === undefined ? {} : { limit },
      schema: {
        summary,
        ...(description === undefined ? {} : { description }),
        tags,
        params: UserParams,
        response: { 200: answer },
      },
      handler: async (request: FastifyRequest<{ Params: { username: string } }>) =>
        change(context, viewerOf(request).id, request.params.username),
    });
  }

  const sendList = async (request: FastifyRequest, reply: FastifyReply, userId: string, list: List) => {
    const viewer = viewerOf(request);
    const { limit, after } = pageRequest(request.query as { limit?: number; cursor?: string });
    const rows = await listPeople(db, viewer.id, { userId, list, limit: limit + 1, after });
    const urls = await mediaUrls(context, viewer.id);
    return sendPage(request, reply, {
      rows,
      limit,
      publicUrl: config.public_url,
      position: (row) => ({ at: row.listed_at, id: row.id }),
      item: (row) => toRelatedUser(row, urls),
    });
  };

  for (const [list, summary] of [
    ["followers", "Who follows an account, latest first"],
    ["following", "Whom an account follows, latest first"],
  ] as const) {
    app.get(
      `/users/:username/${list}`,
      {
        schema: {
          summary,
          tags,
          params: UserParams,
          querystring: PageQuery,
          response: { 200: pageOf(RelatedUser) },
        },
      },
      async (request, reply) => {
        const account = await requireSeen(db, viewerOf(request).id, request.params.username);
        return sendList(request, reply, account.id, list);
      },
    );
  }

  for (const [path, list, summary] of [
    ["/follow-requests", "requests", "Who asks to follow oneself, latest first"],
    ["/me/blocks", "blocks", "Whom one blocks, latest first"],
    ["/me/mutes", "mutes", "Whom one has muted, latest first"],
    ["/me/close-friends", "close_friends", "One's close friends, latest first"],
    ["/me/story-hides", "story_hides", "From whom one hides one's stories, latest first"],
  ] as const) {
    app.get(
      path,
      { schema: { summary, tags, querystring: PageQuery, response: { 200: pageOf(RelatedUser) } } },
      async (request, reply) => sendList(request, reply, viewerOf(request).id, list),
    );
  }
}
