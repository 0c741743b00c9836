import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import type { App } from "../../src/http/types.ts";
import { confirmEmail, requestConfirmation } from "./confirmation.ts";
import { requestPasswordReset, resetPassword } from "./credentials.ts";
import { Password } from "./schemas.ts";

const tags = ["Accounts"];
const Accepted = Type.Object({ status: Type.Literal("accepted") });
const accepted = { status: "accepted" } as const;
const ONE_A_MINUTE = "At most one mail a minute is sent; the answer is the same.";
const Token = Type.String({ description: "as the link has it" });

/** What is done by links in mails: confirming an email, setting a password that was forgotten. */
export function recoveryRoutes(app: App, context: Context): void {
  const { db } = context;

  app.post(
    "/me/email/confirmation",
    {
      schema: {
        summary: "Have the mail sent again that confirms one's email",
        description: ONE_A_MINUTE,
        tags,
        response: { 202: Accepted },
      },
    },
    async (request, reply) => reply.code(202).send(await requestConfirmation(context, viewerOf(request).id)),
  );

  app.post(
    "/auth/email/confirm",
    {
      config: { public: true },
      schema: {
        summary: "Confirm an email by the link that was mailed to it",
        tags,
        body: Type.Object({ token: Token }, { additionalProperties: false }),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      await confirmEmail(db, request.body.token);
      return reply.code(204).send(null);
    },
  );

  app.post(
    "/auth/password/reset",
    {
      config: { public: true, limit: "recovery" },
      schema: {
        summary: "Have a link mailed that sets a new password",
        description: `The answer does not tell whether there is such an account. ${ONE_A_MINUTE}`,
        tags,
        body: Type.Object({ login: Type.String({ description: "name or email" }) }, { additionalProperties: false }),
        response: { 202: Accepted },
      },
    },
    async (request, reply) => {
      await requestPasswordReset(context, request.body.login);
      return reply.code(202).send(accepted);
    },
  );

  app.post(
    "/auth/password/reset/confirm",
    {
      config: { public: true },
      schema: {
        summary: "Set a new password by a link",
        description: "The link is used up, and all sessions end.",
        tags,
        body: Type.Object({ token: Token, new_password: Password }, { additionalProperties: false }),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      await resetPassword(context, { ...request.body, address: request.ip });
      return reply.code(204).send(null);
    },
  );
}
