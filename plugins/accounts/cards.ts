import type { Selectable } from "kysely";
import type { Context } from "../../src/context.ts";
import { PG_SNAPSHOT } from "../../src/db/snapshot.ts";
import type { Db } from "../../src/db/transaction.ts";
import { type Loaded, RowCache } from "../../src/redis/row-cache.ts";
import { USER_COLUMNS, type UserRow, type UsersTable } from "./store.ts";

/** What is shown of an account beside what it posts, and whether it is there at all. */
export type Card = UserRow & Pick<Selectable<UsersTable>, "state">;

/** Seconds in Redis. */
const TTL = 3_600;
/** In the process, some 400 bytes each. */
const MOST = 50_000;

const caches = new WeakMap<Context["notices"], RowCache<Card, Card>>();

/** The cards of this process. */
export function cards(context: Pick<Context, "redis" | "notices" | "bulkhead">): RowCache<Card, Card> {
  const known = caches.get(context.notices);
  if (known) return known;
  const cache = new RowCache<Card, Card>(context, {
    name: "card",
    topic: "account.changed",
    ttl: TTL,
    most: MOST,
    load,
    thaw: (card) => card,
  });
  caches.set(context.notices, cache);
  return cache;
}

async function load(db: Db, ids: readonly string[]): Promise<Loaded<Card>> {
  const rows = await db
    .selectFrom("users")
    .select([...USER_COLUMNS, "users.state"])
    .select(PG_SNAPSHOT.as("snapshot"))
    .where("id", "in", ids)
    .execute();
  const found = new Map<string, Card>();
  for (const { snapshot: _, ...card } of rows) found.set(card.id, card);
  return { snapshot: rows[0]?.snapshot ?? "", rows: found };
}
