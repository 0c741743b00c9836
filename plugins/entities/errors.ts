import { defineError } from "../../src/http/errors.ts";

export const tooManyHashtags = defineError(
  "TOO_MANY_HASHTAGS",
  422,
  "A text may have {limit} hashtags at most; take some out.",
);
export const tooManyMentions = defineError(
  "TOO_MANY_MENTIONS",
  422,
  "A text may mention {limit} accounts at most; take some out.",
);
