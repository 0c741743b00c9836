import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import type { Arrivals, LoadPlan, RequestClass } from "./plan.ts";
import { runLoad } from "./run.ts";

async function serve(t: Test, listener: RequestListener): Promise<Pick<LoadPlan, "host" | "port">> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}

const get = (path: string) => Buffer.from(`GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`);

function plan(
  to: Pick<LoadPlan, "host" | "port">,
  arrivals: Arrivals,
  classes: Partial<RequestClass>[] = [{}],
): LoadPlan {
  return {
    ...to,
    connections: 1,
    arrivals,
    seed: 1,
    classes: classes.map((some) => ({
      name: "all",
      share: 1 / classes.length,
      draw: "turn",
      requests: [get("/")],
      keepOneOf: 0,
      ...some,
    })),
  };
}

t.test("who would have come while the server stalled is counted with the time that they waited", async (t) => {
  let requests = 0;
  const to = await serve(t, async (_request, response) => {
    if (++requests === 20) await sleep(500);
    response.end("done");
  });
  const { classes } = await runLoad(plan(to, { model: "open", rate: 100, seconds: 2 }));
  const [{ answered, latency } = { answered: 0, latency: { p95: 0, p99: 0 } }] = classes;
  t.equal(answered, 200, "as many as the rate says, whatever the server did");
  // One of 200 stalled: a generator that waits with it would see nothing of that in its 95th percentile.
  t.ok(latency.p95 > 250, `p95 ${latency.p95}`);
  t.ok(latency.p99 > 400, `p99 ${latency.p99}`);
});

t.test("what is not answered is counted, with the time that it waited", async (t) => {
  const to = await serve(t, (request, response) => {
    if (request.url === "/lost") request.socket.destroy();
    else response.end("done");
  });
  const { classes } = await runLoad(
    plan(to, { model: "open", rate: 50, seconds: 0.4 }, [{ requests: [get("/"), get("/lost")] }]),
  );
  t.same(classes[0]?.statuses, { 0: 10, 200: 10 });
  t.equal(classes[0]?.answered, 10);
});

t.test("once: each request in turn, bodies whole, in pieces and of no length", async (t) => {
  const to = await serve(t, async (request, response) => {
    if (request.url === "/empty") return response.writeHead(204).end();
    const body = Buffer.alloc(200_000, request.url ?? "");
    response.writeHead(request.url === "/wrong" ? 404 : 200, { "content-length": body.length });
    response.write(body.subarray(0, 5));
    await sleep(5);
    response.end(body.subarray(5));
  });
  const requests = ["/a", "/empty", "/wrong", "/b"].map(get);
  const { classes } = await runLoad(plan(to, { model: "once" }, [{ requests, keepOneOf: 1 }]));
  t.same(
    classes[0]?.kept.map(({ request, status, body }) => [request, status, body.length, body.toString("latin1", 0, 4)]),
    [
      [0, 200, 200_000, "/a/a"],
      [1, 204, 0, ""],
      [2, 404, 200_000, "/wro"],
      [3, 200, 200_000, "/b/b"],
    ],
  );
});

t.test("a head may come in two pieces", async (t) => {
  const to = await serve(t, async ({ socket }) => {
    for (const piece of ["HTTP/1.1 200 OK\r\nConte", "nt-Length: 4\r\n\r", "\ndo", "ne"]) {
      socket.write(piece);
      await sleep(20);
    }
  });
  const { classes } = await runLoad(plan(to, { model: "once" }, [{ keepOneOf: 1 }]));
  t.same(classes[0]?.kept, [{ request: 0, status: 200, body: Buffer.from("done") }]);
});

t.test("closed: as much as is answered, each class by its share", async (t) => {
  const to = await serve(t, (_request, response) => response.end("done"));
  const { classes, seconds } = await runLoad({
    ...plan(to, { model: "closed", seconds: 0.5 }, [
      { name: "many", share: 0.9 },
      { name: "few", share: 0.1 },
    ]),
    connections: 4,
  });
  const [many = 0, few = 0] = classes.map(({ answered }) => answered);
  t.ok(seconds >= 0.5);
  t.ok(many > few && few > 0, `${many} and ${few}`);
});

t.test("where nobody listens it says so", async (t) => {
  const to = await serve(t, () => undefined);
  await t.rejects(runLoad(plan({ ...to, port: 1 }, { model: "once" })), { message: /127\.0\.0\.1:1 does not answer/ });
});
