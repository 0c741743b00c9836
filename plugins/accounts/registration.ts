import { type Static, Type } from "typebox";
import { Errors } from "typebox/value";
import { invalidValue } from "../../src/http/errors.ts";
import { Nullable } from "../../src/http/paging.ts";
import { assertStorable } from "../../src/http/validation.ts";
import { DisplayName, Email, Password, Username } from "./schemas.ts";

/** What an account is made of, over HTTP and from the command line. */
export const Registration = Type.Object(
  { username: Username, email: Email, password: Password, display_name: Type.Optional(Nullable(DisplayName)) },
  { additionalProperties: false },
);
export type Registration = Static<typeof Registration>;

/** For those who do not come over HTTP, where the schema is checked by the route. @throws 422 naming every mistake. */
export function assertRegistration(registration: Registration): void {
  const mistakes = [...Errors(Registration, registration)].map(
    (error) => `${error.instancePath.slice(1)} ${error.message}`,
  );
  if (mistakes.length > 0) throw invalidValue({ reason: mistakes.join("; ") });
  for (const [name, value] of Object.entries(registration)) if (value) assertStorable(name, value);
}
