import { Type } from "typebox";
import type { Context } from "../context.ts";
import type { Feature } from "../feature.ts";
import { registry } from "../metrics.ts";
import { probe } from "../probe.ts";
import { warningsOf } from "../warnings.ts";
import type { App } from "./types.ts";

const Dependency = Type.Object({
  state: Type.Union([Type.Literal("up"), Type.Literal("down")]),
  required: Type.Boolean(),
  latency_ms: Type.Integer(),
  error: Type.Union([Type.String(), Type.Null()]),
});

/** /healthz, /readyz and /metrics: for load balancers, orchestrators and Prometheus. They need no token. */
export async function registerOperations(app: App, context: Context, features: readonly Feature[]): Promise<void> {
  const warn = warningsOf(context, features);
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
    warnings: Type.Array(Type.Object({ code: Type.String({ description: "never changes" }), message: Type.String() }), {
      description: "what an operator should know of though everything works; none makes a server unready",
    }),
  });
  app.get(
    "/readyz",
    {
      config: { whileStopping: true },
      schema: {
        summary: "Each dependency, its state and latency, and warnings",
        description:
          "503 when a required dependency is down, or while the server is being stopped. Redis, where one is configured, is not required: feeds come from Postgres without it.",
        tags: ["Operations"],
        response: { 200: Readiness, 503: Readiness },
      },
    },
    async (_request, reply) => {
      const [dependencies, warnings] = await Promise.all([probe(context), warn()]);
      const down = Object.values(dependencies).some(({ state, required }) => required && state === "down");
      const status = closing ? ("stopping" as const) : down ? ("unavailable" as const) : ("ready" as const);
      return reply.code(status === "ready" ? 200 : 503).send({ status, dependencies, warnings });
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
    async (_request, reply) => {
      // Sets the gauges of what is warned of.
      await warn();
      return reply.type(registry.contentType).send(await registry.metrics());
    },
  );
}
