import swagger from "@fastify/swagger";
import reference from "@scalar/fastify-api-reference";
import type { FastifySchema, RouteOptions } from "fastify";
import { Type } from "typebox";
import type { Context } from "../context.ts";
import { VERSION } from "../version.ts";
import type { App } from "./types.ts";

/** The reference page brings its own script and styles, and needs no other host. */
const PAGE_POLICY =
  "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; frame-ancestors 'none'";

/** /openapi.json, made from the schemas of the routes, and /docs, the same for reading. Must come before the routes. */
export async function registerDocs(app: App, { config }: Context): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Tintype",
        version: VERSION,
        description:
          "Photo sharing over HTTP. Times are RFC 3339 UTC, ids are strings, a field without a value is null.",
        license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      },
      components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
    },
    transform: ({ schema, url, route }) => ({
      url,
      schema: { ...schema, ...additions(url, route, schema) },
    }),
  });
  app.get("/openapi.json", { schema: { hide: true } }, async () => ({
    ...app.swagger(),
    // With port 0 the URL is known only once the server listens.
    servers: [{ url: config.public_url }],
  }));
  await app.register(async (scope: App) => {
    scope.addHook("onSend", async (_request, reply) => {
      reply.header("content-security-policy", PAGE_POLICY);
    });
    await scope.register(reference, {
      routePrefix: "/docs",
      configuration: {
        title: "Tintype API",
        url: "/openapi.json",
        withDefaultFonts: false,
        telemetry: false,
        // Its makers' services, which are no part of this server.
        showDeveloperTools: "never",
        hideClientButton: true,
        agent: { disabled: true },
        mcp: { disabled: true },
      },
    });
  });
}

const ErrorAnswer = Type.Object(
  {
    error: Type.Object({
      code: Type.String(),
      message: Type.String(),
      request_id: Type.String(),
      details: Type.Record(Type.String(), Type.Unknown()),
    }),
  },
  { description: "What went wrong; the codes are in docs/errors.md" },
);

const IdempotencyKey = Type.Object({
  "idempotency-key": Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 255,
      description:
        "Names this request, so that it may be sent again: for 24 hours the same key on the same path gives the first answer again, with `Idempotent-Replayed: true`, and nothing is done twice. Another body is a 422, one that is still under way a 409. 401, 429 and 5xx are not kept.",
    }),
  ),
});

/** Routes that answer as the API does, and need no token: a browser that loads or saves a file sends none. */
const FILES = /^\/(media|exports)\//;

type Responses = Record<string, object>;

const LimitHeaders = {
  "X-RateLimit-Limit": { type: "integer", description: "How often in a window" },
  "X-RateLimit-Remaining": { type: "integer", description: "How much of it is left" },
  "X-RateLimit-Reset": { type: "integer", description: "Unix time, seconds, at which some of it is free again" },
};

/** The answers of a route that is limited, where the operator has not switched that off. */
function withLimit(responses: Responses): Responses {
  const headers = { ...LimitHeaders, "Retry-After": { type: "integer", description: "Seconds to wait" } };
  const told = Object.entries(responses).map(([status, schema]) => [status, { ...schema, headers: LimitHeaders }]);
  return { ...Object.fromEntries(told), 429: { ...ErrorAnswer, description: "Too often: RATE_LIMITED", headers } };
}

/** What the documentation says of a route that its own schema does not. */
function additions(url: string, { method, config = {} }: RouteOptions, schema: FastifySchema | undefined) {
  const takesKey = method === "POST" && !config.public && !config.withoutIdempotencyKey;
  const isApi = url.startsWith("/api/");
  if (!isApi && !FILES.test(url)) return {};
  const responses = { ...(schema?.response as Responses | undefined), default: ErrorAnswer };
  return {
    ...(config.public || !isApi ? {} : { security: [{ token: [] }] }),
    ...(isApi && takesKey ? { headers: IdempotencyKey } : {}),
    ...(config.form ? { body: config.form, consumes: ["multipart/form-data"] } : {}),
    response: config.limit === undefined ? responses : withLimit(responses),
  };
}
