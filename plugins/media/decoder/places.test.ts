import t from "tap";
import { createPlaces, DecoderBusyError, DecoderClosedError, type Place } from "./places.ts";

/** A file that is being decoded until it is said to have ended, or is set aside. */
function begin(place: Place): { setAside: Promise<DecoderBusyError> } {
  const { promise, resolve } = Promise.withResolvers<DecoderBusyError>();
  place.begin((reason) => {
    place.leave(false);
    resolve(reason);
  });
  return { setAside: promise };
}

const file = (owner: string, suspect = false) => ({ owner, suspect });

t.test("places go by turn", async (t) => {
  const places = createPlaces({ size: 2, timeoutMs: 20_000 });
  const [one, two] = await Promise.all([places.take(file("a")), places.take(file("a"))]);
  const order: number[] = [];
  const waiting = [1, 2, 3].map(async (n) => {
    const place = await places.take(file("a"));
    order.push(n);
    return place;
  });
  one?.leave(true);
  two?.leave(true);
  const [third] = await Promise.all(waiting.slice(0, 2));
  t.same(order, [1, 2]);
  third?.leave(true);
  await waiting[2];
  t.same(order, [1, 2, 3]);
});

t.test("what takes long gives its place up when somebody waits, and its owner gets none meanwhile", async (t) => {
  const places = createPlaces({ size: 1, timeoutMs: 4_000 });
  const long = await places.take(file("mallory"));
  const { setAside } = begin(long);
  const waiting = [places.take(file("mallory")), places.take(file("ana"))] as const;
  await t.rejects(waiting[0], DecoderBusyError, "it has one in hand that takes long");
  const ana = await waiting[1];
  await t.rejects(places.take(file("mallory")), DecoderBusyError);
  // The lane is one, and whoever asks often is to ask later.
  await t.rejects(places.take(file("bob", true)), { name: "DecoderBusyError", seconds: 4, setAside: false });
  ana.leave(true);
  long.leave(false);
  (await places.take(file("mallory"))).leave(true);
  t.equal(await Promise.race([setAside, "not set aside"]), "not set aside");
});

t.test("with the lane taken, what takes long is set aside when somebody waits", async (t) => {
  const places = createPlaces({ size: 1, timeoutMs: 2_000 });
  const suspect = await places.take(file("mallory", true));
  begin(suspect);
  const { setAside } = begin(await places.take(file("oscar")));
  const ana = await places.take(file("ana"));
  t.match(await setAside, { setAside: true, seconds: 2 });
  ana.leave(true);
  suspect.leave(true);
});

t.test("nobody waits: nobody is hurried", async (t) => {
  const places = createPlaces({ size: 1, timeoutMs: 2_000 });
  const long = await places.take(file("ana"));
  const { setAside } = begin(long);
  await new Promise((resolve) => setTimeout(resolve, 700));
  const suspect = await places.take(file("bob", true));
  suspect.leave(true);
  t.equal(await Promise.race([setAside, "not set aside"]), "not set aside");
  await t.rejects(places.take(file("ana", true)), DecoderBusyError, "one of the same owner, in a place");
  long.leave(true);
});

t.test("closing", async (t) => {
  const places = createPlaces({ size: 1, timeoutMs: 2_000 });
  const one = await places.take(file("ana"));
  const refused = t.rejects(places.take(file("bob")), DecoderClosedError);
  let closed = false;
  const closing = places.close().then(() => {
    closed = true;
  });
  await refused;
  t.notOk(closed);
  await t.rejects(places.take(file("bob")), DecoderClosedError);
  one.leave(true);
  await closing;
});
