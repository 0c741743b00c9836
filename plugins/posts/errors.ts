import { defineError } from "../../src/http/errors.ts";

export const postNotFound = defineError("POST_NOT_FOUND", 404, "There is no such post.");
export const notYourPost = defineError("NOT_YOUR_POST", 403, "Only its author can change this post.");
export const postNotPublished = defineError(
  "POST_NOT_PUBLISHED",
  409,
  "Your post is not published yet. Like, save or comment on it when it is.",
);
