import { STATUS_CODES } from "node:http";
import cors from "@fastify/cors";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import { type FastifyRequest, fastify, LogController } from "fastify";
import helmet from "helmet";
import { v4 as randomId } from "uuid";
import type { Context } from "../context.ts";
import type { Feature } from "../feature.ts";
import { httpDuration, httpRequests } from "../metrics.ts";
import { requireAuthentication } from "./auth.ts";
import { registerDocs } from "./docs.ts";
import { errorBody, handleError, sendError } from "./error-handler.ts";
import {
  bodyTooDeep,
  type HttpError,
  headersTooLarge,
  invalidJson,
  invalidRequest,
  requestTimeout,
  routeNotFound,
  shuttingDown,
  unsupportedMediaType,
} from "./errors.ts";
import { fingerprintBody, honourIdempotencyKeys } from "./idempotency.ts";
import { registerOperations } from "./operations.ts";
import { warnOfProxies } from "./proxies.ts";
import type { App } from "./types.ts";
import { compileValidator, refuseUnstorableText } from "./validation.ts";

const REQUEST_ID = /^[\w.-]{1,64}$/;

/** Builds the HTTP server of the enabled features. It does not listen yet. */
export async function buildApp(context: Context, features: readonly Feature[]): Promise<App> {
  const app = await createApp(context);
  await registerDocs(app, context);
  const guard = async (scope: App) => {
    for (const feature of features) await feature.guard?.(scope, context);
  };
  await app.register(
    async (api: App) => {
      requireAuthentication(api, context, features);
      honourIdempotencyKeys(api, context);
      await guard(api);
      for (const feature of features) await register(api, feature.plugin, context);
    },
    { prefix: "/api/v1" },
  );
  await app.register(async (root: App) => {
    await guard(root);
    for (const feature of features) await register(root, feature.rootPlugin, context);
  });
  await registerOperations(app, context, features);
  return app;
}

/** The server of a process that serves nothing but its own health and metrics. */
export async function buildOperationsApp(context: Context, features: readonly Feature[]): Promise<App> {
  const app = await createApp(context);
  await registerOperations(app, context, features);
  return app;
}

/** What every server has: errors of one shape, request ids, limits, headers, logs, draining. */
async function createApp({ config, log }: Context): Promise<App> {
  const app: App = fastify({
    loggerInstance: log,
    // Requests are logged below, without their query strings.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: "request_id" }),
    bodyLimit: config.http.body_limit,
    connectionTimeout: config.http.idle_timeout,
    keepAliveTimeout: config.http.idle_timeout,
    requestTimeout: config.http.request_timeout,
    trustProxy: config.http.trust_proxy.length > 0 ? config.http.trust_proxy : false,
    forceCloseConnections: "idle",
    return503OnClosing: false,
    // A name that is too long is a name that is not there; the limit on headers bounds it.
    routerOptions: { maxParamLength: 16 * 1024, ignoreTrailingSlash: true },
    genReqId: (request) => {
      const given = request.headers["x-request-id"];
      return typeof given === "string" && REQUEST_ID.test(given) ? given : randomId();
    },
    http: {
      headersTimeout: config.http.header_timeout,
      maxHeaderSize: 16 * 1024,
      // How often Node looks for who is too slow; its own 30 s would let them take that much longer.
      connectionsCheckingInterval: Math.min(5_000, config.http.header_timeout),
      // Refused below, with an answer of the same shape as all others.
      requireHostHeader: false,
    },
    clientErrorHandler: (error, socket) => {
      if (!socket.writable) return socket.destroy(error);
      const requestId = randomId();
      log.debug({ err: error, request_id: requestId }, "not answered by a route");
      socket.end(rawErrorResponse(clientError(error.code), requestId));
    },
    frameworkErrors: (_error, request, reply) => {
      sendError(
        request,
        reply.header("x-request-id", request.id),
        invalidRequest({ reason: "its URL cannot be decoded" }),
      );
    },
  }).withTypeProvider<TypeBoxTypeProvider>();

  app.setValidatorCompiler(compileValidator);
  // Measured: fast-json-stringify is slower than JSON.stringify on feed pages. Schemas document the answers.
  app.setSerializerCompiler(() => JSON.stringify);
  app.setErrorHandler(handleError);
  app.setNotFoundHandler((request, reply) =>
    sendError(request, reply, routeNotFound({ method: request.method, path: request.url.split("?", 1)[0] ?? "" })),
  );
  // Fastify's own; no route takes plain text.
  app.removeContentTypeParser("text/plain");
  parseJson(app);
  app.decorateRequest("viewer", null);
  app.decorateRequest("idempotency", null);
  observeRequests(app);
  if (config.http.trust_proxy.length === 0) warnOfProxies(app, log);
  drainOnClose(app);

  secureHeaders(app, config);
  await app.register(cors, {
    origin: config.http.cors_origins.includes("*") ? "*" : config.http.cors_origins,
    methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
    exposedHeaders: [
      "link",
      "retry-after",
      "x-request-id",
      "idempotent-replayed",
      "x-ratelimit-limit",
      "x-ratelimit-remaining",
      "x-ratelimit-reset",
    ],
    maxAge: 3600,
  });
  app.addHook("onRequest", requireHost);
  app.addHook("onRequest", refuseEncodedBodies);
  refuseWhoIsGone(app);
  app.addHook("preValidation", fingerprintBody);
  app.addHook("preValidation", refuseUnstorableText);
  return app;
}

/** By helmet itself, made once: its plugin for Fastify makes it, and parses the policy, at each request. */
function secureHeaders(app: App, config: Context["config"]): void {
  const secure = helmet({
    contentSecurityPolicy: { directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] }, useDefaults: false },
    crossOriginResourcePolicy: { policy: "same-site" },
    hsts: config.public_url.startsWith("https:"),
  });
  app.addHook("onRequest", (request, reply, done) => secure(request.raw, reply.raw, () => done()));
}

/** Each feature in a scope of its own, so that its hooks and parsers are its own. */
async function register(app: App, plugin: Feature["plugin"], context: Context): Promise<void> {
  if (plugin) await app.register(async (scope: App) => plugin(scope, context));
}

/** RFC 9112, 3.2. */
async function requireHost({ headers, raw }: FastifyRequest): Promise<void> {
  if (headers.host === undefined && raw.httpVersion === "1.1") {
    throw invalidRequest({ reason: "the Host header is missing" });
  }
}

/** Unpacking is a way to fill memory with little sent, and no picture gets smaller by it. */
async function refuseEncodedBodies({ headers }: FastifyRequest): Promise<void> {
  const encoding = headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity") {
    throw unsupportedMediaType({ expected: "the body without a Content-Encoding" });
  }
}

/**
 * A body is awaited by the events of its connection, and one that was closed while a hook before this waited (for the
 * database, for Redis) sends none: its request would never end, and what hooks hold for it, keys and places, would never be
 * given back. So it is refused like any other, which makes onSend run. From here to the listening for the body nothing may
 * wait: there must be no other hook of this kind that does.
 */
function refuseWhoIsGone(app: App): void {
  app.addHook("preParsing", ({ raw }, _reply, _payload, done) => {
    // Also with a body that had come in full: a stream that is destroyed gives none of it.
    done(raw.destroyed ? invalidRequest({ reason: "its connection was closed before its body was read" }) : null);
  });
}

/** Arrays and objects in each other; no route takes more than four. What looks at a body may then recurse. */
const MOST_LEVELS = 16;

function isDeeper(value: unknown, levels: number): boolean {
  if (value === null || typeof value !== "object") return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}

/** JSON in UTF-8. Many clients name it as their content type on every call, also where they send nothing. */
function parseJson(app: App): void {
  const parse = app.getDefaultJsonParser("error", "error");
  const utf8 = new TextDecoder("utf-8", { fatal: true });
  app.removeContentTypeParser("application/json");
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (request, body: Buffer, done) => {
    if (body.length === 0) return done(null, undefined);
    let text: string;
    try {
      text = utf8.decode(body);
    } catch {
      // Taken leniently, it would be stored with replacement characters for what was sent.
      return done(invalidJson({}));
    }
    void parse(request, text, (error, parsed) => {
      if (error === null && isDeeper(parsed, MOST_LEVELS)) return done(bodyTooDeep({ levels: MOST_LEVELS }));
      done(error, parsed);
    });
  });
}

function observeRequests(app: App): void {
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id);
  });
  app.addHook("onResponse", async (request, reply) => {
    const path = request.routeOptions.url ?? "unmatched";
    const { method } = request;
    httpRequests.inc({ method, path, status_code: reply.statusCode });
    httpDuration.observe({ method, path }, reply.elapsedTime / 1000);
    // The route and not the URL: a query string may hold a ticket or what somebody searched for.
    const fields = {
      method,
      path,
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime),
      user_id: request.viewer?.id,
    };
    if (path === "/healthz" || path === "/readyz" || path === "/metrics") request.log.debug(fields, "request");
    else request.log.info(fields, "request");
  });
}

/** While the server drains, what is in flight is answered and new requests on open connections are told to go. */
function drainOnClose(app: App): void {
  let closing = false;
  app.addHook("preClose", async () => {
    closing = true;
  });
  app.addHook("onRequest", async (request, reply) => {
    if (!closing || request.routeOptions.config.whileStopping) return;
    reply.header("connection", "close");
    throw shuttingDown({}, { retryAfter: 1 });
  });
  app.addHook("onSend", async (_request, reply) => {
    if (closing) reply.header("connection", "close");
  });
}

function clientError(code: string | undefined): HttpError {
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return requestTimeout({});
  if (code === "HPE_HEADER_OVERFLOW") return headersTooLarge({});
  return invalidRequest({ reason: "this is not HTTP" });
}

function rawErrorResponse(error: HttpError, requestId: string): string {
  const body = JSON.stringify(errorBody(error, requestId));
  return [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}`,
    "content-type: application/json; charset=utf-8",
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${requestId}`,
    "x-content-type-options: nosniff",
    "connection: close",
    "",
    body,
  ].join("\r\n");
}
