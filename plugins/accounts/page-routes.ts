import formbody from "@fastify/formbody";
import type { FastifyReply } from "fastify";
import { type Static, type TObject, Type } from "typebox";
import type { Config } from "../../src/config/schema.ts";
import type { Context } from "../../src/context.ts";
import { answerFor } from "../../src/http/error-handler.ts";
import { HttpError } from "../../src/http/errors.ts";
import type { App } from "../../src/http/types.ts";
import { assertBody } from "../../src/http/validation.ts";
import { register } from "./accounts.ts";
import { confirmEmail } from "./confirmation.ts";
import { resetPassword } from "./credentials.ts";
import { registrationClosed } from "./errors.ts";
import { requireLink } from "./links.ts";
import { type Form, PAGE_POLICY, type Page, renderPage } from "./pages.ts";
import { RegistrationForm } from "./registration.ts";
import { Password } from "./schemas.ts";

const TokenQuery = Type.Object({ token: Type.Optional(Type.String()) });
const InviteQuery = Type.Object({ invite: Type.Optional(Type.String()) });
/** A form's fields as they come: texts. What they must be is said by the same schemas as for JSON. */
const Fields = Type.Record(Type.String(), Type.String());
const TokenForm = Type.Object({ token: Type.String() });
const NewPasswordForm = Type.Object({ token: Type.String(), new_password: Password });

/**
 * What the links in mails lead to: pages for a browser, without scripts. They change nothing before a button is pressed,
 * because mail scanners open every link. Each form carries its token or code, so no other site can send one in
 * somebody's name.
 */
export async function pageRoutes(app: App, context: Context): Promise<void> {
  const { config, db } = context;
  await app.register(formbody, { bodyLimit: 16 * 1024 });
  app.addHook("onSend", async (_request, reply) => {
    reply.header("content-security-policy", PAGE_POLICY);
    reply.header("referrer-policy", "no-referrer");
    reply.header("cache-control", "no-store");
  });
  app.setErrorHandler((error, request, reply) => {
    const answer = answerFor(error, request);
    if (answer.retryAfter !== undefined) reply.header("retry-after", answer.retryAfter);
    return sendPage(reply.code(answer.status), { title: "That did not work", error: answer.message });
  });

  app.get(
    "/account/reset-password",
    { schema: { hide: true, querystring: TokenQuery } },
    async ({ query: { token = "" } }, reply) => {
      await requireLink(db, "password_reset", token);
      return sendPage(reply, { title: "Choose a new password", form: newPasswordForm(token) });
    },
  );

  app.post("/account/reset-password", { schema: { hide: true, body: Fields } }, async ({ body, ip }, reply) => {
    const { token = "", new_password = "" } = body;
    const form = newPasswordForm(token);
    const refused = await refusalOf(async () => {
      const right = valid(NewPasswordForm, { token, new_password });
      await resetPassword(context, { ...right, address: ip });
    });
    if (refused) return sendRefusal(reply, refused, { title: "Choose a new password", form });
    return sendPage(reply, {
      title: "Your password is changed",
      text: ["Sign in with it in your app. Wherever you were signed in before, you are not any more."],
    });
  });

  app.get(
    "/account/confirm-email",
    { schema: { hide: true, querystring: TokenQuery } },
    async ({ query: { token = "" } }, reply) => {
      await requireLink(db, "email_confirmation", token);
      return sendPage(reply, { title: "Confirm your email", form: confirmForm(token) });
    },
  );

  app.post("/account/confirm-email", { schema: { hide: true, body: Fields } }, async ({ body }, reply) => {
    await confirmEmail(db, valid(TokenForm, { token: body.token ?? "" }).token);
    return sendPage(reply, { title: "Your email is confirmed", text: ["You can close this page."] });
  });

  app.get(
    "/account/register",
    { schema: { hide: true, querystring: InviteQuery } },
    async ({ query: { invite = "" } }, reply) => {
      if (config.registration === "closed") throw registrationClosed({});
      return sendPage(reply, { title: "Make an account", form: registrationForm(config, { invite_code: invite }) });
    },
  );

  app.post(
    "/account/register",
    { config: { limit: "registration" }, schema: { hide: true, body: Fields } },
    async ({ body }, reply) => {
      const { username = "", email = "", password = "", invite_code = "" } = body;
      const refused = await refusalOf(async () => {
        await register(context, valid(RegistrationForm, { username, email, password, invite_code }));
      });
      if (refused) {
        const form = registrationForm(config, { username, email, invite_code });
        return sendRefusal(reply, refused, { title: "Make an account", form });
      }
      return sendPage(reply.code(201), {
        title: "Your account is made",
        text: [`Sign in as ${username.toLowerCase()} in your app. Its server is ${config.public_url}`],
      });
    },
  );
}

function newPasswordForm(token: string): Form {
  return {
    action: "reset-password",
    submit: "Set the new password",
    fields: [{ name: "token", type: "hidden", value: token }, passwordField("new_password", "New password")],
  };
}

function confirmForm(token: string): Form {
  return {
    action: "confirm-email",
    submit: "Confirm",
    fields: [{ name: "token", type: "hidden", value: token }],
  };
}

function registrationForm(
  { registration }: Pick<Config, "registration">,
  given: { username?: string; email?: string; invite_code: string },
): Form {
  const { username = "", email = "", invite_code } = given;
  return {
    action: "register",
    submit: "Make the account",
    fields: [
      {
        name: "username",
        label: "Name",
        hint: "3 to 30 of a-z, 0-9, dot and underscore",
        type: "text",
        value: username,
        autocomplete: "username",
        maxlength: 30,
        required: true,
      },
      { name: "email", label: "Email", type: "email", value: email, autocomplete: "email", required: true },
      passwordField("password", "Password"),
      ...(registration === "invite"
        ? [{ name: "invite_code", label: "Invite code", type: "text" as const, value: invite_code, required: true }]
        : []),
    ],
  };
}

function passwordField(name: string, label: string): Form["fields"][number] {
  return {
    name,
    label,
    hint: "8 characters or more",
    type: "password",
    autocomplete: "new-password",
    minlength: 8,
    maxlength: 256,
    required: true,
  };
}

/** The same rules and messages as over JSON. @throws 422 naming every mistake. */
function valid<Schema extends TObject>(schema: Schema, fields: Static<Schema>): Static<Schema> {
  return assertBody(schema, fields);
}

/** What a person can mend by filling in the form again; everything else is thrown on. */
async function refusalOf(work: () => Promise<void>): Promise<HttpError | null> {
  try {
    await work();
    return null;
  } catch (error) {
    if (error instanceof HttpError && error.status < 500) return error;
    throw error;
  }
}

function sendRefusal(reply: FastifyReply, { status, message }: HttpError, page: Page): FastifyReply {
  return sendPage(reply.code(status), { ...page, error: message });
}

function sendPage(reply: FastifyReply, page: Page): FastifyReply {
  return reply.type("text/html; charset=utf-8").send(renderPage(page));
}
