import { RENDITION_NAMES, type RenditionName } from "./decoder/protocol.ts";

/** Where the original of a medium lies in the store. */
export function originalKey(mediumId: string): string {
  return `originals/${shard(mediumId)}/${mediumId}`;
}

export function renditionKey(mediumId: string, name: RenditionName): string {
  return `renditions/${shard(mediumId)}/${mediumId}/${name}.webp`;
}

/** Every object that a medium can have: known from its id alone, so that removal needs no row. */
export function objectKeys(mediumId: string): string[] {
  return [originalKey(mediumId), ...RENDITION_NAMES.map((name) => renditionKey(mediumId, name))];
}

/** 256 folders. The end of a UUIDv7 is random; its beginning is the time and would fill one folder after the other. */
function shard(mediumId: string): string {
  return mediumId.slice(-2);
}
