/** Hashtags and mentions in captions and comments. */

export {
  Entity,
  hashtagsOf,
  mentionedIds,
  mentionedNames,
  resolveEntities,
  type StoredEntity,
  showEntities,
} from "./entities.ts";
export { firstEntities, normalizeTag, type Parsed, parseEntities } from "./parse.ts";
