import { type Static, Type } from "typebox";
import { Nullable } from "../../src/http/paging.ts";
import type { MediaUrls } from "../tickets/index.ts";
import type { HighlightRow } from "./highlight-store.ts";

export const Highlight = Type.Object({
  id: Type.String(),
  title: Type.String(),
  cover: Nullable(Type.String({ description: "URL of a thumbnail of the latest story in it" })),
  count: Type.Integer({ description: "stories in it that are for the viewer" }),
  created_at: Type.String({ format: "date-time" }),
});
export type Highlight = Static<typeof Highlight>;

export function toHighlight(row: HighlightRow, urls: MediaUrls): Highlight {
  return {
    id: row.id,
    title: row.title,
    cover: row.cover_id === null ? null : urls.rendition(row.cover_id, "thumbnail", true),
    count: row.story_count,
    created_at: row.created_at.toISOString(),
  };
}
