import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { OperationError } from "../../errors.ts";
import type { LoadPlan, LoadResult } from "./plan.ts";

/** The part of a plan that says where to. @param origin `http://HOST:PORT` */
export function loadTo(
  origin: string,
  { connections, seed }: Pick<LoadPlan, "connections" | "seed">,
): Pick<LoadPlan, "host" | "port" | "connections" | "seed"> {
  const { hostname, port } = new URL(origin);
  return { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || 80), connections, seed };
}

/** @throws OperationError when something was answered otherwise than with success, or not at all. */
export function assertAnswered({ classes }: LoadResult): void {
  for (const { name, statuses } of classes) {
    for (const [status, count] of Object.entries(statuses)) {
      if (status === "0") throw new OperationError(`${count} of the ${name} were not answered`);
      if (Number(status) >= 400) throw new OperationError(`${count} of the ${name} were answered ${status}`);
    }
  }
}

export interface LoadGenerator {
  /** One plan at a time. @throws OperationError when the server cannot be reached, or the generator was lost. */
  run(plan: LoadPlan): Promise<LoadResult>;
  stop(): Promise<void>;
}

/** A process of its own, so that neither the bench nor the server shares an event loop with what measures. */
export function startLoadGenerator(): LoadGenerator {
  const child = fork(join(import.meta.dirname, "child.ts"), { serialization: "advanced" });
  const exited = once(child, "exit");
  return {
    async run(plan) {
      const gone = exited.then(() => {
        throw new OperationError("the load generator has ended");
      });
      const told = once(child, "message") as Promise<[{ result: LoadResult } | { error: string }]>;
      child.send(plan);
      const [answer] = await Promise.race([told, gone]);
      if ("error" in answer) throw new OperationError(answer.error);
      return answer.result;
    },
    async stop() {
      child.disconnect();
      await exited;
    },
  };
}
