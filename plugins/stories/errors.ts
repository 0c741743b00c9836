import { defineError } from "../../src/http/errors.ts";

export const storyNotFound = defineError("STORY_NOT_FOUND", 404, "There is no such story, or it is over.");
export const notYourStory = defineError("NOT_YOUR_STORY", 403, "Only its author can do this with a story.");
export const highlightNotFound = defineError("HIGHLIGHT_NOT_FOUND", 404, "There is no such highlight.");
export const tooManyHighlights = defineError(
  "TOO_MANY_HIGHLIGHTS",
  422,
  "You have {limit} highlights, and cannot have more. Delete one first.",
  { passes: true },
);
export const highlightFull = defineError(
  "HIGHLIGHT_FULL",
  422,
  "There are {limit} stories in this highlight, and there cannot be more. Take one out first.",
  { passes: true },
);
export const storyNotPublished = defineError(
  "STORY_NOT_PUBLISHED",
  409,
  "Your story is not published yet. Try again when it is.",
);
export const reactionInvalid = defineError("REACTION_INVALID", 422, "A reaction is one emoji.");
export const cannotReactToOwn = defineError("CANNOT_REACT_TO_OWN", 422, "You cannot react to a story of your own.");
