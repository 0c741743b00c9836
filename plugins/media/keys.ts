import { validate as isUuid } from "uuid";
import { RENDITION_NAMES, type RenditionName } from "./decoder/protocol.ts";

/** Where everything of the feature lies in the store. */
export const PREFIXES = ["originals/", "renditions/"] as const;

/** Where the original of a medium lies in the store. */
export function originalKey(mediumId: string): string {
  return `originals/${shard(mediumId)}/${mediumId}`;
}

/**
 * @param version what the row says: "" for the first renditions of a medium. Those that are made again get new keys, because
 * an object is never replaced by another: whoever is reading the old one, or backing it up, goes on.
 */
export function renditionKey(mediumId: string, name: RenditionName, version = ""): string {
  return `${renditionFolder(mediumId)}${version === "" ? "" : `${version}/`}${name}.webp`;
}

/** All renditions of a medium, of every version. */
export function renditionFolder(mediumId: string): string {
  return `renditions/${shard(mediumId)}/${mediumId}/`;
}

/** The objects that a medium has if it was processed once: known from its id alone. */
export function objectKeys(mediumId: string): string[] {
  return [originalKey(mediumId), ...RENDITION_NAMES.map((name) => renditionKey(mediumId, name))];
}

/** The medium that an object belongs to, by its key; null for a key that is none of ours. */
export function mediumOfKey(key: string): string | null {
  const [folder = "", , id = ""] = key.split("/");
  return PREFIXES.some((prefix) => prefix === `${folder}/`) && isUuid(id) ? id : null;
}

/** 256 folders. The end of a UUIDv7 is random; its beginning is the time and would fill one folder after the other. */
function shard(mediumId: string): string {
  return mediumId.slice(-2);
}
