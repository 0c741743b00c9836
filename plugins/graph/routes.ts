import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { Nullable, PageQuery, pageOf, pageRequest, sendPage } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { requireAccount, toUser, User, UserParams, userNotFound } from "../accounts/index.ts";
import { follow, unfollow } from "./graph.ts";
import { listFollows, maySee, relationship } from "./store.ts";

const tags = ["Graph"];

const Profile = Type.Object({
  ...User.properties,
  bio: Nullable(Type.String()),
  is_private: Type.Boolean(),
  post_count: Type.Integer(),
  follower_count: Type.Integer(),
  following_count: Type.Integer(),
  relationship: Type.Object({
    following: Type.Boolean(),
    requested: Type.Boolean(),
    followed_by: Type.Boolean(),
    blocking: Type.Boolean(),
    muting: Type.Boolean(),
  }),
});

const FollowAnswer = Type.Object({
  status: Type.Union([Type.Literal("following"), Type.Literal("requested"), Type.Literal("none")]),
});

export async function graphRoutes(app: App, context: Context): Promise<void> {
  const { config, db } = context;

  app.get(
    "/users/:username",
    {
      schema: { summary: "A profile, as the viewer may see it", tags, params: UserParams, response: { 200: Profile } },
    },
    async (request) => {
      const account = await requireAccount(db, request.params.username);
      return {
        ...toUser(account),
        bio: account.bio,
        is_private: account.is_private,
        post_count: account.post_count,
        follower_count: account.follower_count,
        following_count: account.following_count,
        relationship: await relationship(db, viewerOf(request).id, account.id),
      };
    },
  );

  app.post(
    "/users/:username/follow",
    {
      schema: {
        summary: "Follow; repeating it changes nothing",
        tags,
        params: UserParams,
        response: { 200: FollowAnswer },
      },
    },
    async (request) => ({ status: await follow(context, viewerOf(request).id, request.params.username) }),
  );

  app.delete(
    "/users/:username/follow",
    {
      schema: {
        summary: "Unfollow; repeating it changes nothing",
        tags,
        params: UserParams,
        response: { 200: FollowAnswer },
      },
    },
    async (request) => ({ status: await unfollow(context, viewerOf(request).id, request.params.username) }),
  );

  for (const list of ["followers", "following"] as const) {
    app.get(
      `/users/:username/${list}`,
      {
        schema: {
          summary:
            list === "followers" ? "Who follows an account, latest first" : "Whom an account follows, latest first",
          tags,
          params: UserParams,
          querystring: PageQuery,
          response: { 200: pageOf(User) },
        },
      },
      async (request, reply) => {
        const { username } = request.params;
        const account = await requireAccount(db, username);
        if (!(await maySee(db, viewerOf(request).id, account.id))) throw userNotFound({ username });
        const { limit, after } = pageRequest(request.query);
        const rows = await listFollows(db, { userId: account.id, list, limit: limit + 1, after });
        return sendPage(request, reply, {
          rows,
          limit,
          publicUrl: config.public_url,
          position: (row) => ({ at: row.followed_at, id: row.id }),
          item: (row) => toUser(row),
        });
      },
    );
  }
}
