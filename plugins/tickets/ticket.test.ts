import { createHmac, createSecretKey, randomBytes } from "node:crypto";
import fc from "fast-check";
import t from "tap";
import { v4 as randomId } from "uuid";
import { LIFETIME, parseTicket, signTicket as sign, type TicketKey, verifyTicket, WINDOW, windowOf } from "./ticket.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/** The beginning of some window. */
const BEGIN = 2_000_000 * WINDOW;
const MINUTE = 60_000;

const key = (id: number): TicketKey => ({ id, secret: createSecretKey(randomBytes(32)) });
const ours = key(7);
const viewer = randomId();

const signTicket = (key: TicketKey, viewerId: string, now: number) => sign(key, viewerId, windowOf(now));

function read(text: unknown, now: number, by = ours): string | null {
  const ticket = parseTicket(text);
  return ticket === null ? null : verifyTicket(by, ticket, now);
}

t.test("a ticket is good for its window and the next", async (t) => {
  for (const signedAt of [0, 1, 14 * MINUTE + 59_999]) {
    const ticket = signTicket(ours, viewer, BEGIN + signedAt);
    t.equal(ticket, signTicket(ours, viewer, BEGIN), "one ticket a window");
    for (const [minute, second] of [
      [0, 0],
      [14, 59],
      [15, 0],
      [29, 59],
    ] as const) {
      t.equal(read(ticket, BEGIN + minute * MINUTE + second * 1_000), viewer, `at ${minute}:${second}`);
    }
    t.equal(read(ticket, BEGIN + LIFETIME - 1), viewer);
    for (const late of [30 * MINUTE, 30 * MINUTE + 1, 31 * MINUTE, 1e12]) t.equal(read(ticket, BEGIN + late), null);
  }
  t.not(signTicket(ours, viewer, BEGIN + WINDOW), signTicket(ours, viewer, BEGIN));
});

t.test("one of the window to come is good for servers whose clocks are a little apart", async (t) => {
  const ticket = signTicket(ours, viewer, BEGIN);
  t.equal(read(ticket, BEGIN - 10_000), viewer);
  t.equal(read(ticket, BEGIN - 10_001), null);
});

t.test("it is of one viewer, one key and one time, and in base64url", async (t) => {
  fc.assert(
    fc.property(fc.uuid(), fc.uuid(), fc.integer({ min: 0, max: 1e13 }), (one, other, now) => {
      const ticket = signTicket(ours, one, now);
      if (read(ticket, now) !== one) throw new Error("not read");
      if (encodeURIComponent(ticket) !== ticket || ticket.length !== 56) throw new Error(`not for URLs: ${ticket}`);
      if (one !== other && signTicket(ours, other, now) === ticket) throw new Error("of two viewers");
    }),
  );
  const ticket = signTicket(ours, viewer, BEGIN);
  t.equal(read(ticket, BEGIN, key(7)), null, "another secret with the same id");
  t.equal(read(ticket, BEGIN, { ...ours, secret: createSecretKey(Buffer.alloc(32)) }), null);
  t.equal(parseTicket(ticket)?.key_id, 7);
});

t.test("what it is made of", async (t) => {
  const [secret, id] = [createSecretKey(Buffer.alloc(32, 1)), "00010203-0405-4607-8809-0a0b0c0d0e0f"];
  const signed = Buffer.from(`00000007001e8480${id.replaceAll("-", "")}`, "hex");
  const mac = createHmac("sha256", secret).update(signed).digest().subarray(0, 18);
  t.equal(signTicket({ id: 7, secret }, id, BEGIN), Buffer.concat([signed, mac]).toString("base64url"));
});

t.test("a single other character is refused, wherever it stands", async (t) => {
  const ticket = signTicket(ours, viewer, BEGIN);
  for (let at = 0; at < ticket.length; at++) {
    for (const character of ALPHABET) {
      if (character === ticket[at]) continue;
      const altered = ticket.slice(0, at) + character + ticket.slice(at + 1);
      if (read(altered, BEGIN) !== null) t.fail(`${altered} at ${at}`);
    }
  }
  fc.assert(
    fc.property(fc.uuid(), fc.nat(55), fc.string({ unit: "binary", minLength: 0, maxLength: 2 }), (id, at, put) => {
      const good = signTicket(ours, id, BEGIN);
      const altered = good.slice(0, at) + put + good.slice(at + 1);
      if (altered !== good && read(altered, BEGIN) !== null) throw new Error(altered);
    }),
    { numRuns: 1_000 },
  );
});

t.test("what is no ticket is none, and never an error", async (t) => {
  const ticket = signTicket(ours, viewer, BEGIN);
  const none = [undefined, null, "", 7, {}, [ticket], [ticket, ticket], `${ticket}=`, `${ticket}\n`, ` ${ticket}`];
  for (const text of [
    ...none,
    ticket.slice(1),
    `${ticket}A`,
    ticket + ticket,
    "\0",
    "é".repeat(56),
    "A".repeat(10_240),
  ])
    t.equal(parseTicket(text), null);
  fc.assert(fc.property(fc.anything(), (text) => read(text, BEGIN) === null));
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 42, maxLength: 42 }), (bytes) => {
      return read(Buffer.from(bytes).toString("base64url"), BEGIN) === null;
    }),
  );
});
