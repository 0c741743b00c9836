import { defineError } from "../../src/http/errors.ts";

export const cannotFollowSelf = defineError("CANNOT_FOLLOW_SELF", 422, "You cannot follow yourself.");
export const cannotBlockSelf = defineError("CANNOT_BLOCK_SELF", 422, "You cannot block yourself.");
export const cannotMuteSelf = defineError("CANNOT_MUTE_SELF", 422, "You cannot mute yourself.");
export const youBlock = defineError("YOU_BLOCK", 403, "You block {username}. Unblock them first.", { passes: true });
export const cannotListSelf = defineError(
  "CANNOT_LIST_SELF",
  422,
  "You see your own stories always; the lists of who does are of others.",
);
export const followRequestNotFound = defineError(
  "FOLLOW_REQUEST_NOT_FOUND",
  404,
  "{username} does not ask to follow you, or has withdrawn the request.",
);
