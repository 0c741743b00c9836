import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import fc from "fast-check";
import type { FastifyReply, FastifyRequest } from "fastify";
import t from "tap";
import { decodeCursor, decodeRankedCursor, encodeCursor, type Position, pageRequest, sendPage } from "./paging.ts";

/** Postgres reads no year of more than four digits in the form that Node writes it. */
const END = Date.UTC(10_000, 0, 1);
const position = fc.record(
  { at: fc.integer({ min: 0, max: END - 1 }).map((ms) => new Date(ms)), id: fc.uuid() },
  { noNullPrototype: true },
);
const INVALID = { code: "INVALID_CURSOR", status: 400 };

t.test("a cursor holds its position exactly", async (t) => {
  fc.assert(
    fc.property(position, (value) => {
      const cursor = encodeCursor(value);
      assert.match(cursor, /^[\w-]{32}$/);
      assert.deepEqual(decodeCursor(cursor), value);
    }),
    { numRuns: 300 },
  );
  t.pass("300 of them");
});

t.test("a cursor of a list that is ordered by a number holds it exactly, and is no time's", async (t) => {
  const ranked = fc.record(
    { rank: fc.integer({ min: 0, max: 2 ** 31 - 1 }), id: fc.uuid() },
    { noNullPrototype: true },
  );
  fc.assert(fc.property(ranked, (value) => assert.deepEqual(decodeRankedCursor(encodeCursor(value)), value)));
  for (const foreign of [encodeCursor({ at: new Date(), id: randomUUID() }), "", "0", "next", "A".repeat(31)]) {
    t.throws(() => decodeRankedCursor(foreign), INVALID, foreign);
  }
});

t.test("what is no cursor is refused", async (t) => {
  const cursor = encodeCursor({ at: new Date(), id: randomUUID() });
  const foreign = [
    "",
    "0",
    "null",
    "next",
    cursor.slice(0, -1),
    `${cursor}A`,
    `${cursor}=`,
    ` ${cursor}`,
    cursor.replace(/.$/, "+"),
    encodeCursor({ at: new Date(END), id: randomUUID() }),
    Buffer.alloc(24, 0xff).toString("base64url"),
    Buffer.from(randomUUID()).toString("base64url"),
  ];
  for (const text of foreign) t.throws(() => decodeCursor(text), INVALID, JSON.stringify(text));
  fc.assert(
    fc.property(fc.string(), (text) => {
      assert.throws(() => decodeCursor(text), INVALID);
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 24, maxLength: 24 }), (bytes) => {
      const text = Buffer.from(bytes).toString("base64url");
      let taken: Position;
      try {
        taken = decodeCursor(text);
      } catch {
        return assert.throws(() => decodeCursor(text), INVALID);
      }
      assert.equal(encodeCursor(taken), text, "what is taken is what would be given");
    }),
  );
});

t.test("what a query asks for", async (t) => {
  t.same(pageRequest({}), { limit: 20, after: null });
  const at = new Date(0);
  const id = randomUUID();
  t.same(pageRequest({ limit: 3, cursor: encodeCursor({ at, id }) }), { limit: 3, after: { at, id } });
});

t.test("a page is cut, and says where the next begins", async (t) => {
  const rows: Position[] = [3, 2, 1].map((ms) => ({ at: new Date(ms), id: randomUUID() }));
  const headers: Record<string, string> = {};
  const reply = { header: (name: string, value: string) => Object.assign(headers, { [name]: value }) };
  const send = (limit: number, url: string) =>
    sendPage({ url } as FastifyRequest, reply as unknown as FastifyReply, {
      rows,
      limit,
      publicUrl: "https://pictures.example/base",
      position: (row) => row,
      item: (row) => row.at.getTime(),
    });

  t.same(send(3, "/api/v1/feed"), { items: [3, 2, 1], next_cursor: null });
  t.same(headers, {}, "the last page has no link");

  const { items, next_cursor } = send(2, "/api/v1/feed?limit=2&cursor=old");
  t.same(items, [3, 2]);
  t.same(next_cursor && decodeCursor(next_cursor), rows[1]);
  t.equal(headers.link, `<https://pictures.example/base/api/v1/feed?limit=2&cursor=${next_cursor}>; rel="next"`);
});
