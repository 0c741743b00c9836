import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { OperationError } from "../errors.ts";

/** A server that a product's route is compared with, in a process of its own. */
export interface Reference {
  /** `http://127.0.0.1:PORT` */
  url: string;
  stop(): Promise<void>;
}

/** A Fastify with one route, `GET /`, that sends these bytes and does nothing else. */
export async function startBufferReference(body: Buffer): Promise<Reference> {
  return startReference(fork(join(import.meta.dirname, "buffer-server.ts"), { serialization: "advanced" }), body);
}

/** @param child sends its URL when it has been sent the body and listens, and ends when it is left. */
export async function startReference(child: ChildProcess, body: Buffer): Promise<Reference> {
  const exited = once(child, "exit");
  const told = once(child, "message") as Promise<[string]>;
  child.send(body);
  const gone = exited.then(() => {
    throw new OperationError("a reference server of the bench did not start");
  });
  const [url] = await Promise.race([told, gone]);
  return {
    url,
    async stop() {
      if (child.connected) child.disconnect();
      await exited;
    },
  };
}
