import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { OperationError } from "../errors.ts";
import type { FromReference, ToReference } from "./reference-process.ts";

/** A server that a product's route is compared with, in a process of its own. */
export interface Reference {
  /** `http://127.0.0.1:PORT` */
  url: string;
  /** Processor time that it has taken so far. */
  cpuSeconds(): Promise<number>;
  stop(): Promise<void>;
}

/** A Fastify with one route, `GET /`, that sends these bytes and does nothing else. */
export async function startBufferReference(body: Buffer): Promise<Reference> {
  return startReference(fork(join(import.meta.dirname, "buffer-server.ts"), { serialization: "advanced" }), body);
}

/** @param child one that calls `beReference`. */
export async function startReference(child: ChildProcess, body: Buffer): Promise<Reference> {
  const exited = once(child, "exit");
  const gone = exited.then(() => {
    throw new OperationError("a reference server of the bench has ended");
  });
  const ask = async (message: ToReference): Promise<FromReference> => {
    const told = once(child, "message") as Promise<[FromReference]>;
    child.send(message);
    const [answer] = await Promise.race([told, gone]);
    return answer;
  };
  const listening = await ask({ body });
  return {
    url: "url" in listening ? listening.url : "",
    async cpuSeconds() {
      const answer = await ask({ usage: true });
      return "cpuSeconds" in answer ? answer.cpuSeconds : Number.NaN;
    },
    async stop() {
      if (child.connected) child.disconnect();
      await exited;
    },
  };
}
