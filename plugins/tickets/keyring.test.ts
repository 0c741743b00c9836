import { createSecretKey, randomBytes } from "node:crypto";
import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import t from "tap";
import { v4 as randomId } from "uuid";
import type { Schema } from "../../src/db/schema.ts";
import { testDatabase } from "../../test/support/database.ts";
import { query } from "../../test/support/product/database.ts";
import { BELIEVED, readTicket, rotateKeys, ticketSigner } from "./keyring.ts";
import { LIFETIME, parseTicket, signTicket, WINDOW, windowOf } from "./ticket.ts";

const { url } = await testDatabase(t);
const viewer = randomId();

/** A server, as far as tickets go: its own connections and keys. */
class Server {
  /** Statements that were sent. */
  reads = 0;
  down = false;
  readonly context: { db: Kysely<Schema> };

  constructor() {
    const pool = new pg.Pool({ connectionString: url, max: 2 });
    t.teardown(() => pool.end());
    const connect = pool.connect.bind(pool);
    this.context = {
      db: new Kysely<Schema>({
        dialect: new PostgresDialect({
          // The engine is real; what is told here is that it cannot be reached.
          pool: {
            options: {},
            end: () => pool.end(),
            connect: async () => {
              this.reads++;
              if (this.down) throw new Error("connection refused");
              return connect();
            },
          },
        }),
      }),
    };
  }

  async sign(): Promise<string> {
    return (await ticketSigner(this.context))(viewer);
  }

  read(ticket: string): Promise<string | null> {
    return readTicket(this.context, ticket);
  }
}

function keyOf(ticket: string): number | undefined {
  return parseTicket(ticket)?.key_id;
}

/** Lets so many milliseconds pass for whoever asks `performance.now()`. */
function skip(t: { teardown(end: () => void): void }, milliseconds: number): void {
  const now = performance.now.bind(performance);
  performance.now = () => now() + milliseconds;
  t.teardown(() => {
    performance.now = now;
  });
}

t.test("servers agree, and read the keys once for all who ask", async (t) => {
  const [one, other] = [new Server(), new Server()];
  const tickets = await Promise.all(Array.from({ length: 50 }, () => one.sign()));
  t.equal(new Set(tickets).size, 1);
  t.equal(one.reads, 1, "fifty at once are one read");
  t.equal(await other.sign(), tickets[0]);
  t.equal(await other.read(tickets[0] ?? ""), viewer);
  t.equal(other.reads, 1);
});

t.test("the database's clock counts, not the server's", async (t) => {
  const server = new Server();
  const before = await server.sign();
  const { now } = Date;
  Date.now = () => now() + 60 * 60_000;
  t.teardown(() => {
    Date.now = now;
  });
  const other = new Server();
  t.equal(await other.sign(), before);
  t.equal(await other.read(before), viewer);
});

t.test("tickets of a rotated key stay good, and a server that knows no new key yet looks for it", async (t) => {
  const [late, early] = [new Server(), new Server()];
  const old = await late.sign();
  const { id, retired } = await rotateKeys(early.context.db, { revoke: false });
  t.equal(retired, 1);
  const fresh = await early.sign();
  t.not(fresh, old);
  t.equal(await late.sign(), old, "keys are believed for a while");
  const reads = late.reads;
  t.same(await Promise.all([late.read(fresh), late.read(fresh), late.read(old)]), [viewer, viewer, viewer]);
  t.equal(late.reads, reads + 1, "at once, with one read");
  t.equal(await late.sign(), fresh);
  t.equal(await early.read(old), viewer);

  const [row] = await query(
    url,
    `SELECT extract(epoch FROM expires_at - now()) * 1000 AS left FROM ticket_keys WHERE id = ${id - 1}`,
  );
  t.ok(Number(row?.left) > LIFETIME, "longer than any ticket of it");
  t.ok(Number(row?.left) <= LIFETIME + BELIEVED);
});

t.test("keys that were never made cost a read at most, those that are gone none", async (t) => {
  const server = new Server();
  await server.sign();
  const newest = keyOf(await server.sign()) ?? 0;
  const unknown = (id: number) =>
    signTicket({ id, secret: createSecretKey(randomBytes(32)) }, viewer, windowOf(Date.now()));
  const reads = server.reads;
  t.equal(await server.read(unknown(0)), null);
  t.equal(server.reads, reads);
  const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => server.read(unknown(newest + 1 + n))));
  t.same(new Set(answers), new Set([null]));
  t.ok(server.reads <= reads + 2, `${server.reads - reads} reads for a hundred`);
});

t.test("while the database fails, known keys go on; none that may be revoked is believed", async (t) => {
  const server = new Server();
  const ticket = await server.sign();
  server.down = true;
  t.equal(await server.read(ticket), viewer);
  await t.test("after some seconds they are asked for again, and nobody waits", async (t) => {
    skip(t, BELIEVED - 1_000);
    t.equal(await server.read(ticket), viewer);
    t.equal(keyOf(await server.sign()), keyOf(ticket));
  });
  await t.test("then they still sign, and no ticket is taken", async (t) => {
    skip(t, BELIEVED);
    await t.rejects(server.read(ticket), /refused/);
    t.equal(keyOf(await server.sign()), keyOf(ticket));
    server.down = false;
    t.equal(await server.read(ticket), viewer, "until it answers");
  });
  const cold = new Server();
  cold.down = true;
  await t.rejects(cold.sign(), /refused/, "who never read them has none");
  cold.down = false;
  t.equal(await cold.sign(), ticket);
});

t.test("a revoked key is refused by every server, as late as told", async (t) => {
  const [server, other] = [new Server(), new Server()];
  const ticket = await server.sign();
  t.equal(await other.read(ticket), viewer);
  await rotateKeys(server.context.db, { revoke: true });
  t.equal((await query(url, "SELECT FROM ticket_keys WHERE expires_at IS NULL")).length, 1);
  skip(t, BELIEVED);
  t.equal(await other.read(ticket), null);
  t.not(await other.sign(), ticket);
});

t.test("of rotations at once one key is left that does not end, and it signs", async (t) => {
  const server = new Server();
  const made = await Promise.all(Array.from({ length: 6 }, () => rotateKeys(server.context.db, { revoke: false })));
  const rows = await query(url, "SELECT id FROM ticket_keys WHERE expires_at IS NULL");
  t.same(
    rows.map(({ id }) => id),
    [Math.max(...made.map(({ id }) => id))],
  );
  t.equal(keyOf(await new Server().sign()), rows[0]?.id);
});

t.test("a viewer's ticket is that viewer's, however many there are", async (t) => {
  const sign = await ticketSigner(new Server().context);
  const viewers = Array.from({ length: 25_000 }, () => randomId());
  const tickets = viewers.map(sign);
  t.equal(new Set(tickets).size, viewers.length);
  t.same(viewers.slice(-100).map(sign), tickets.slice(-100));
  t.same(viewers.slice(0, 100).map(sign), tickets.slice(0, 100));
});

t.test("the window of a ticket is the database's", async (t) => {
  const ticket = await new Server().sign();
  const [row] = await query(url, `SELECT floor(extract(epoch FROM now()) * 1000 / ${WINDOW}) AS window`);
  const window = Buffer.from(ticket, "base64url").readUInt32BE(4);
  t.ok([0, 1].includes(Number(row?.window) - window));
});
