import { type Static, Type } from "typebox";
import { Nullable } from "../../src/http/paging.ts";
import { DisplayName, Email, Password, Username } from "./schemas.ts";

const fields = {
  username: Username,
  email: Email,
  password: Password,
  display_name: Type.Optional(Nullable(DisplayName)),
};

/** What an account is made of, over HTTP and from the command line. */
export const Registration = Type.Object(fields, { additionalProperties: false });
export type Registration = Static<typeof Registration>;

/** What is asked of those who come by themselves. */
export const RegistrationForm = Type.Object(
  {
    ...fields,
    invite_code: Type.Optional(
      Type.String({ maxLength: 200, description: "asked for where registration is by invitation" }),
    ),
  },
  { additionalProperties: false },
);
export type RegistrationForm = Static<typeof RegistrationForm>;

/** Whom an invite is meant for. */
export const InvitedEmail = Type.Object({ email: Email });
