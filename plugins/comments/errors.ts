import { defineError } from "../../src/http/errors.ts";

export const commentNotFound = defineError("COMMENT_NOT_FOUND", 404, "There is no such comment.");
export const commentEmpty = defineError("COMMENT_EMPTY", 422, "A comment has a text.");
export const commentsClosed = defineError("COMMENTS_CLOSED", 403, "The author of this post takes no more comments.", {
  passes: true,
});
export const notYourComment = defineError(
  "NOT_YOUR_COMMENT",
  403,
  "Only its author and the author of the post can delete this comment.",
);
