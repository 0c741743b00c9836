import { type RawBuilder, sql } from "kysely";
import { type Static, Type } from "typebox";
import type { Db } from "../../src/db/transaction.ts";
import { Nullable } from "../../src/http/paging.ts";
import { mayBeKnownTo } from "../graph/index.ts";
import type { Parsed } from "./parse.ts";

declare module "../../src/events.ts" {
  interface Events {
    /** Whom a published text (a caption, or a comment) mentions, and whom it no longer does. Never its author. */
    "mentions.changed": {
      post_id: string;
      comment_id: string | null;
      author_id: string;
      added: string[];
      removed: string[];
    };
  }
}

/** As it is kept beside the text, as JSON. Who was meant is an account and not a name, which may be another's tomorrow. */
export type StoredEntity = { text: string; start: number; end: number } & (
  | { type: "hashtag"; tag: string }
  | { type: "mention"; user_id: string | null }
);

export const Entity = Type.Object(
  {
    type: Type.Union([Type.Literal("hashtag"), Type.Literal("mention")]),
    text: Type.String({ description: "as it is written, with its sign" }),
    start: Type.Integer({ description: "in code points" }),
    end: Type.Integer({ description: "in code points, exclusive" }),
    tag: Nullable(Type.String({ description: "of a hashtag: what `/tags/:tag/posts` takes" })),
    username: Nullable(Type.String({ description: "of a mention: today's name of the account, if there is one" })),
  },
  { description: "a hashtag or a mention in a text" },
);
export type Entity = Static<typeof Entity>;

/** Finds the accounts that are meant, among those that the author may know. One round trip at most. */
export async function resolveEntities(db: Db, authorId: string, parsed: readonly Parsed[]): Promise<StoredEntity[]> {
  const names = parsed.flatMap((entity) => (entity.type === "mention" ? entity.names : []));
  const accounts = new Map<string, string>();
  if (names.length > 0) {
    const rows = await db
      .selectFrom("users")
      .select(["id", "username"])
      .where("username", "in", names)
      .where(mayBeKnownTo(authorId))
      .execute();
    for (const { id, username } of rows) accounts.set(username, id);
  }
  return parsed.map((entity): StoredEntity => {
    if (entity.type === "hashtag") return entity;
    const meant = entity.names.find((name) => accounts.has(name));
    const cut = dotsAfter(entity.text, meant ?? entity.names.at(-1) ?? "");
    const { start } = entity;
    const text = entity.text.slice(0, entity.text.length - cut);
    return {
      type: "mention",
      text,
      start,
      end: entity.end - cut,
      user_id: (meant && accounts.get(meant)) ?? null,
    };
  });
}

/** Who is mentioned, each once. */
export function mentionedIds(entities: readonly StoredEntity[]): string[] {
  const ids = entities.flatMap((entity) => (entity.type === "mention" && entity.user_id ? [entity.user_id] : []));
  return [...new Set(ids)];
}

/** The hashtags of a text, each once, as they are looked up. */
export function hashtagsOf(entities: readonly StoredEntity[]): string[] {
  return [...new Set(entities.flatMap((entity) => (entity.type === "hashtag" ? [entity.tag] : [])))];
}

/** SQL for a query: today's names by id of those whom the entities in `column` mention and whom the viewer may know. */
export function mentionedNames(viewerId: string, column: string): RawBuilder<Record<string, string>> {
  return sql`
    (SELECT coalesce(json_object_agg(mentioned.id, mentioned.username), '{}')
     FROM jsonb_array_elements(${sql.ref(column)}) AS entity
     JOIN users AS mentioned ON mentioned.id = (entity->>'user_id')::uuid
     WHERE ${mayBeKnownTo(viewerId, "mentioned")})`;
}

/** @param nameOf today's name of an account, null where it is not there for the viewer. */
export function showEntities(
  entities: readonly StoredEntity[],
  nameOf: (userId: string) => string | null | undefined,
): Entity[] {
  return entities.map((entity) => {
    const { type, text, start, end } = entity;
    const username = entity.type === "mention" && entity.user_id ? (nameOf(entity.user_id) ?? null) : null;
    return { type, text, start, end, tag: entity.type === "hashtag" ? entity.tag : null, username };
  });
}

/** How many of the dots at the end of what was written do not belong to the name. */
function dotsAfter(written: string, name: string): number {
  return written.length - 1 - name.length;
}
