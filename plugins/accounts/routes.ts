import type { FastifyRequest } from "fastify";
import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { unauthenticated } from "../../src/http/errors.ts";
import { Nullable } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { mediaUrls } from "../tickets/index.ts";
import { changeAccount, emptyToNull, registerAndSignIn } from "./accounts.ts";
import { closeAccount } from "./lifecycle.ts";
import { recoveryRoutes } from "./recovery-routes.ts";
import { RegistrationForm } from "./registration.ts";
import { Account, Bio, DisplayName, SignedIn, toAccount, Username } from "./schemas.ts";
import { sessionRoutes } from "./session-routes.ts";
import { logIn, type Origin } from "./sessions.ts";
import { type AccountRow, accountById } from "./store.ts";

const tags = ["Accounts"];

export async function accountRoutes(app: App, context: Context): Promise<void> {
  const { db } = context;
  const shown = async (account: AccountRow) => toAccount(account, await mediaUrls(context, account.id));

  app.post(
    "/auth/register",
    {
      config: { public: true, limit: "registration" },
      schema: {
        summary: "Make an account and sign in",
        tags,
        body: RegistrationForm,
        response: { 201: SignedIn },
      },
    },
    async (request, reply) => {
      const { account, token } = await registerAndSignIn(context, request.body, originOf(request));
      return reply.code(201).send({ user: await shown(account), token });
    },
  );

  app.post(
    "/auth/login",
    {
      config: { public: true, limit: "login" },
      schema: {
        summary: "Sign in by name or email",
        tags,
        body: Type.Object({ login: Type.String(), password: Type.String() }, { additionalProperties: false }),
        response: { 200: SignedIn },
      },
    },
    async (request) => {
      const { account, token } = await logIn(context, request.body, originOf(request));
      return { user: await shown(account), token };
    },
  );

  app.get("/me", { schema: { summary: "One's own account", tags, response: { 200: Account } } }, async (request) => {
    const account = await accountById(db, viewerOf(request).id);
    // Deleted between the token's check and now.
    if (!account) throw unauthenticated({});
    return shown(account);
  });

  app.patch(
    "/me",
    {
      schema: {
        summary: "Change one's account",
        description:
          "An empty text or null takes the value away. An old name leads nobody here; for two weeks, unless the operator chose another time, nobody else can take it. Going public lets everybody follow who has asked to.",
        tags,
        body: Type.Object(
          {
            username: Type.Optional(Username),
            display_name: Type.Optional(Nullable(DisplayName)),
            bio: Type.Optional(Nullable(Bio)),
            is_private: Type.Optional(Type.Boolean()),
          },
          { additionalProperties: false },
        ),
        response: { 200: Account },
      },
    },
    async (request) => {
      const { display_name, bio, ...others } = request.body;
      const changes = {
        ...others,
        ...(display_name === undefined ? {} : { display_name: emptyToNull(display_name) }),
        ...(bio === undefined ? {} : { bio: emptyToNull(bio) }),
      };
      return shown(await changeAccount(context, viewerOf(request).id, changes));
    },
  );

  app.delete(
    "/me",
    {
      config: { limit: "password" },
      schema: {
        summary: "Delete one's account, for good",
        description: "It is there for nobody from now on; what it left is removed in the background.",
        tags,
        body: Type.Object({ password: Type.String() }, { additionalProperties: false }),
        response: { 202: Type.Object({ status: Type.Literal("deleting") }) },
      },
    },
    async (request, reply) => {
      await closeAccount(context, viewerOf(request).id, request.body.password);
      return reply.code(202).send({ status: "deleting" as const });
    },
  );

  sessionRoutes(app, context);
  recoveryRoutes(app, context);
}

function originOf(request: FastifyRequest): Origin {
  return { address: request.ip, user_agent: request.headers["user-agent"] ?? null };
}
