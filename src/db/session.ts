import { CompiledQuery, Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { Client } from "./client.ts";
import { WITHOUT_TIME_LIMITS } from "./limits.ts";
import type { Schema } from "./schema.ts";
import type { Db } from "./transaction.ts";

/**
 * One connection beside the pool, without time limits: for work that takes hours, or keeps something in temporary tables.
 * To be ended by `destroy`.
 * @param name of the program, as Postgres shows it.
 * @param setup further statements that it begins with, without parameters.
 */
export function openSession(connection: pg.PoolConfig, name: string, setup = ""): Db {
  // Whatever it waits for in between: its temporary tables would go with the connection.
  const pool = new pg.Pool({ ...connection, Client, max: 1, idleTimeoutMillis: 0, application_name: name });
  // One that breaks while nobody asks is told of by the next query; unheard, it would end the process.
  pool.on("error", () => undefined);
  return new Kysely<Schema>({
    dialect: new PostgresDialect({
      pool,
      onCreateConnection: async (created) => {
        await created.executeQuery(CompiledQuery.raw([WITHOUT_TIME_LIMITS, setup].join(";")));
      },
    }),
  });
}
