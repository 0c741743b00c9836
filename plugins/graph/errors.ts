import { defineError } from "../../src/http/errors.ts";

export const cannotFollowSelf = defineError("CANNOT_FOLLOW_SELF", 422, "You cannot follow yourself.");
