import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { Transform } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";

/** What goes wrong with one request. */
export type Fault =
  /** An answer of S3's own kind. */
  | { status: number; code: string }
  /** Nothing is forwarded, and nothing answered. */
  | "hang"
  /** The connection is reset once so many bytes have gone to the store, or come from it. */
  | { resetAfter: number; of: "request" | "response" }
  /** The answer stops after so many bytes, and the connection stays. */
  | { silentAfter: number }
  /** So much a second, in each direction. */
  | { bytesPerSecond: number };

export interface Seen {
  method: string;
  /** With its query. */
  path: string;
  headers: IncomingMessage["headers"];
}

/** A way to an S3 store on which things go wrong as a test wants. */
export interface S3Proxy {
  url: string;
  /** Every request so far. */
  seen: Seen[];
  /** From now on: asked for each request; null lets it pass. */
  break(fault: (request: Seen, nth: number) => Fault | null): void;
  heal(): void;
}

export async function startS3Proxy(t: { teardown(end: () => unknown): void }, target: string): Promise<S3Proxy> {
  const { hostname, port } = new URL(target);
  const seen: Seen[] = [];
  let faultOf: (request: Seen, nth: number) => Fault | null = () => null;
  const server = createServer((near, answer) => {
    const one = { method: near.method ?? "", path: near.url ?? "", headers: near.headers };
    seen.push(one);
    near.on("error", () => undefined);
    answer.on("error", () => undefined);
    const fault = faultOf(one, seen.length);
    if (fault === "hang") near.resume();
    else if (fault && "status" in fault) refuse(near, answer, fault);
    else forward(near, answer, { hostname, port: Number(port) }, fault);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(async () => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  const ownPort = typeof address === "object" && address ? address.port : 0;
  return {
    url: `http://127.0.0.1:${ownPort}`,
    seen,
    break: (fault) => {
      faultOf = fault;
    },
    heal: () => {
      faultOf = () => null;
    },
  };
}

function refuse(near: IncomingMessage, answer: ServerResponse, { status, code }: { status: number; code: string }) {
  near.resume().on("end", () => {
    answer.writeHead(status, { "content-type": "application/xml" });
    answer.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>as the test wants</Message></Error>`);
  });
}

/** The host stays the client's own: it is a part of the signature. */
function forward(
  near: IncomingMessage,
  answer: ServerResponse,
  target: { hostname: string; port: number },
  fault: Exclude<Fault, "hang" | { status: number }> | null,
) {
  const reset = () => {
    near.socket.resetAndDestroy();
  };
  const far = request({ ...target, method: near.method, path: near.url, headers: near.headers, agent: false });
  near.on("close", () => {
    if (!near.complete) far.destroy();
  });
  answer.on("close", () => far.destroy());
  far.on("error", reset);
  const [up, down] = passages(fault, reset);
  near.pipe(up).pipe(far);
  far.on("response", (response) => {
    if (fault && "resetAfter" in fault && fault.of === "response" && fault.resetAfter === 0) return reset();
    answer.writeHead(response.statusCode ?? 502, response.rawHeaders);
    response.on("error", reset).pipe(down).pipe(answer);
  });
}

function passages(fault: Parameters<typeof forward>[3], reset: () => void): [up: Transform, down: Transform] {
  if (fault === null) return [pass(), pass()];
  if ("bytesPerSecond" in fault) return [slowly(fault.bytesPerSecond), slowly(fault.bytesPerSecond)];
  if ("silentAfter" in fault) return [pass(), until(fault.silentAfter, () => undefined)];
  const broken = until(fault.resetAfter, reset);
  return fault.of === "request" ? [broken, pass()] : [pass(), broken];
}

function pass(): Transform {
  return new Transform({ transform: (chunk, _encoding, done) => done(null, chunk) });
}

function slowly(bytesPerSecond: number): Transform {
  return new Transform({
    async transform(chunk: Buffer, _encoding, done) {
      const step = Math.ceil(bytesPerSecond / 20);
      for (let at = 0; at < chunk.length; at += step) {
        await delay(50);
        this.push(chunk.subarray(at, at + step));
      }
      done();
    },
  });
}

/** Lets so many bytes through, then nothing any more, and says so once. */
function until(bytes: number, then: () => void): Transform {
  let left = bytes;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const passed = chunk.subarray(0, left);
      left -= passed.length;
      this.push(passed);
      if (left > 0) done();
      // What was let through is on its way first. `done` is never called again.
      else setTimeout(then, 20);
    },
  });
}
