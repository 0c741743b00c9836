import { defineError } from "../../src/http/errors.ts";

export const searchEmpty = defineError(
  "SEARCH_EMPTY",
  422,
  "There is nothing to search for. Send in q the beginning of a user name or of a name.",
);
export const searchTooLong = defineError("SEARCH_TOO_LONG", 422, "Search for {limit} characters at most.");
