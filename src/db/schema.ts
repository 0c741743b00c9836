/**
 * The tables that queries may name. Each feature adds its own by declaration merging, in its store.ts:
 *
 *     declare module "../../src/db/schema.ts" { interface Schema { follows: FollowsTable } }
 *
 * so that a table's type lives beside the only code that writes it.
 */
export interface Schema {
  schema_migrations: SchemaMigrationsTable;
}

export interface SchemaMigrationsTable {
  version: number;
  name: string;
  checksum: string;
  oldest_application: string;
  applied_at: Date;
}
