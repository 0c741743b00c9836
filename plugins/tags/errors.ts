import { defineError } from "../../src/http/errors.ts";

export const tagSearchEmpty = defineError(
  "TAG_SEARCH_EMPTY",
  422,
  "There is nothing to search for. Send in q the beginning of a hashtag.",
);
