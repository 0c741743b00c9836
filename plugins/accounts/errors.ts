import { defineError } from "../../src/http/errors.ts";

export const userNotFound = defineError("USER_NOT_FOUND", 404, "There is no user named {username}.");
export const usernameTaken = defineError("USERNAME_TAKEN", 409, "The name {username} is taken. Choose another.");
export const emailTaken = defineError(
  "EMAIL_TAKEN",
  409,
  "This email address belongs to an account already. Log in instead.",
);
export const wrongCredentials = defineError("WRONG_CREDENTIALS", 401, "The name or the password is wrong.");
export const registrationClosed = defineError(
  "REGISTRATION_CLOSED",
  403,
  "This server takes no registrations. Ask its operator for an account.",
);
