import { access, mkdtemp, readdir, rename, rmdir, stat } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type LookupFunction, type NetConnectOpts } from "node:net";
import { join } from "node:path";
import t from "tap";
import { classifyDatabaseError } from "./errors.ts";

const absent = join(t.testdir(), "absent");

t.test("what the system says of a socket is an outage of the database", async (t) => {
  // Bound and closed again: nobody listens there.
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));

  const failure = (options: NetConnectOpts) => new Promise((resolve) => connect(options).once("error", resolve));
  const both: LookupFunction = (_host, _options, found) =>
    found(null, [
      { address: "127.0.0.1", family: 4 },
      { address: "127.0.0.2", family: 4 },
    ]);
  const refused = await failure({ host: "127.0.0.1", port });
  const refusedTwice = await failure({ host: "two-addresses", port, lookup: both });
  const noSocket = await failure({ path: absent });
  t.match(refused, { code: "ECONNREFUSED", syscall: "connect" });
  t.ok(refusedTwice instanceof AggregateError);
  t.match(noSocket, { code: "ENOENT", syscall: "connect" });
  for (const error of [refused, refusedTwice, noSocket]) t.equal(classifyDatabaseError(error), "unavailable");
  for (const [code, syscall] of [
    ["ECONNRESET", "read"],
    ["EPIPE", "write"],
    ["ENOTFOUND", "getaddrinfo"],
    ["EAI_AGAIN", "getaddrinfo"],
  ] as const) {
    t.equal(classifyDatabaseError(Object.assign(new Error(code), { code, syscall })), "unavailable", code);
  }
});

t.test("what it says of files is not", async (t) => {
  for (const work of [
    () => mkdtemp(join(absent, "x-")),
    () => rename(absent, `${absent}2`),
    () => readdir(absent),
    () => access(absent),
    () => rmdir(absent),
    () => stat(absent),
  ]) {
    const error = await work().catch((cause: unknown) => cause);
    t.match(error, { code: "ENOENT" });
    t.equal(classifyDatabaseError(error), "other", String(error));
  }
});
