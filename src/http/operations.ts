import { Type } from "typebox";
import type { Context } from "../context.ts";
import { registry } from "../metrics.ts";
import { probe } from "../probe.ts";
import type { App } from "./types.ts";

const Dependency = Type.Object({
  state: Type.Union([Type.Literal("up"), Type.Literal("down")]),
  required: Type.Boolean(),
  latency_ms: Type.Integer(),
  error: Type.Union([Type.String(), Type.Null()]),
});

/** /healthz, /readyz and /metrics: for load balancers, orchestrators and Prometheus. They need no token. */
export async function registerOperations(app: App, context: Context): Promise<void> {
  let closing = false;
  app.addHook("preClose", async () => {
    closing = true;
  });

  app.get(
    "/healthz",
    {
      config: { whileStopping: true },
      schema: {
        summary: "The process is up",
        tags: ["Operations"],
        response: { 200: Type.Object({ status: Type.Literal("ok") }) },
      },
    },
    async () => ({ status: "ok" as const }),
  );

  const Readiness = Type.Object({
    status: Type.Union([Type.Literal("ready"), Type.Literal("unavailable"), Type.Literal("stopping")]),
    dependencies: Type.Record(Type.String(), Dependency),
  });
  app.get(
    "/readyz",
    {
      config: { whileStopping: true },
      schema: {
        summary: "Each dependency, its state and latency",
        description:
          "503 when a required dependency is down, or while the server is being stopped. Redis, where one is configured, is not required: feeds come from Postgres without it.",
        tags: ["Operations"],
        response: { 200: Readiness, 503: Readiness },
      },
    },
    async (_request, reply) => {
      const dependencies = await probe(context);
      const down = Object.values(dependencies).some(({ state, required }) => required && state === "down");
      const status = closing ? ("stopping" as const) : down ? ("unavailable" as const) : ("ready" as const);
      return reply.code(status === "ready" ? 200 : 503).send({ status, dependencies });
    },
  );

  app.get(
    "/metrics",
    {
      schema: {
        summary: "Prometheus metrics",
        tags: ["Operations"],
        response: { 200: { content: { "text/plain": { schema: Type.String() } } } },
      },
    },
    async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()),
  );
}
