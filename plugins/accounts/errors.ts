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
export const inviteRequired = defineError(
  "INVITE_REQUIRED",
  403,
  "This server takes registrations by invitation only. Ask its operator for a code and send it as invite_code.",
);
export const inviteInvalid = defineError(
  "INVITE_INVALID",
  403,
  "This invite code is mistyped, used or too old. Ask its sender for another.",
);
export const accountSuspended = defineError(
  "ACCOUNT_SUSPENDED",
  403,
  "This account is suspended. Ask the operator of this server why.",
);
export const wrongPassword = defineError("WRONG_PASSWORD", 403, "The current password is wrong.");
export const sessionNotFound = defineError("SESSION_NOT_FOUND", 404, "You have no such session.");
export const usernameChangedTooOften = defineError(
  "USERNAME_CHANGED_TOO_OFTEN",
  409,
  "You gave up {limit} names that are still kept for you. Take one of them back, or wait until {free_at}.",
);
export const linkInvalid = defineError("LINK_INVALID", 422, "This link is mistyped, used or too old. Ask for another.");
export const mailNotConfigured = defineError(
  "MAIL_NOT_CONFIGURED",
  422,
  "This server sends no mail. Its operator can help, also with a link for a new password.",
);
