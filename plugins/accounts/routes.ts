import type { FastifyRequest } from "fastify";
import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { unauthenticated } from "../../src/http/errors.ts";
import { Nullable } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { emptyToNull, logIn, type Origin, register } from "./accounts.ts";
import { registrationClosed } from "./errors.ts";
import { Registration } from "./registration.ts";
import { Account, Bio, DisplayName, SignedIn, toAccount } from "./schemas.ts";
import { type AccountRow, accountById, deleteSession, updateProfile } from "./store.ts";

const tags = ["Accounts"];

export async function accountRoutes(app: App, { config, db }: Context): Promise<void> {
  app.post(
    "/auth/register",
    {
      config: { public: true },
      schema: {
        summary: "Make an account and sign in",
        tags,
        body: Registration,
        response: { 201: SignedIn },
      },
    },
    async (request, reply) => {
      if (config.registration === "closed") throw registrationClosed({});
      const { account, token } = await register(db, request.body, originOf(request));
      return reply.code(201).send({ user: toAccount(account), token });
    },
  );

  app.post(
    "/auth/login",
    {
      config: { public: true },
      schema: {
        summary: "Sign in by name or email",
        tags,
        body: Type.Object({ login: Type.String(), password: Type.String() }, { additionalProperties: false }),
        response: { 200: SignedIn },
      },
    },
    async (request) => {
      const { account, token } = await logIn(db, request.body, originOf(request));
      return { user: toAccount(account), token };
    },
  );

  app.post(
    "/auth/logout",
    { schema: { summary: "End this session", tags, response: { 204: Type.Null() } } },
    async (request, reply) => {
      await deleteSession(db, viewerOf(request).session_id);
      return reply.code(204).send(null);
    },
  );

  app.get("/me", { schema: { summary: "One's own account", tags, response: { 200: Account } } }, async (request) =>
    toAccount(present(await accountById(db, viewerOf(request).id))),
  );

  app.patch(
    "/me",
    {
      schema: {
        summary: "Change one's profile",
        description: "An empty text or null takes the value away.",
        tags,
        body: Type.Object(
          { display_name: Type.Optional(Nullable(DisplayName)), bio: Type.Optional(Nullable(Bio)) },
          { additionalProperties: false },
        ),
        response: { 200: Account },
      },
    },
    async (request) => {
      const { display_name, bio } = request.body;
      const changes = {
        ...(display_name === undefined ? {} : { display_name: emptyToNull(display_name) }),
        ...(bio === undefined ? {} : { bio: emptyToNull(bio) }),
      };
      return toAccount(present(await updateProfile(db, viewerOf(request).id, changes)));
    },
  );
}

/** The account can only be gone if it was deleted between the token's check and now. */
function present(account: AccountRow | undefined): AccountRow {
  if (!account) throw unauthenticated({});
  return account;
}

function originOf(request: FastifyRequest): Origin {
  return { address: request.ip, user_agent: request.headers["user-agent"] ?? null };
}
