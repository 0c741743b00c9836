import type { Client, Json } from "./client.ts";

/** All of a list, page by page; it throws where a page is too long or the header says something else. */
export async function walk(client: Client, path: string, limit: number): Promise<Json[]> {
  const items: Json[] = [];
  for (let next: string | null = `${path}${path.includes("?") ? "&" : "?"}limit=${limit}`; next !== null; ) {
    const { status, body, headers } = await client.request("GET", next);
    if (status !== 200) throw new Error(`${next}: ${status}`);
    if (body.items.length > limit) throw new Error(`a page of ${body.items.length}`);
    items.push(...body.items);
    next = /^<([^>]+)>; rel="next"$/.exec(headers.get("link") ?? "")?.[1] ?? null;
    if (next && !next.includes(body.next_cursor)) throw new Error("Link and next_cursor do not agree");
  }
  return items;
}
