import { type Static, Type } from "typebox";
import { Nullable } from "../../src/http/paging.ts";
import { DisplayName, Email, Password, Username } from "./schemas.ts";

/** What an account is made of, over HTTP and from the command line. */
export const Registration = Type.Object(
  { username: Username, email: Email, password: Password, display_name: Type.Optional(Nullable(DisplayName)) },
  { additionalProperties: false },
);
export type Registration = Static<typeof Registration>;
