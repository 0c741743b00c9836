import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { Ajv2020 } from "ajv/dist/2020.js";
import t, { type Test } from "tap";
import type { Answer, Json } from "../support/client.ts";
import { testDatabase } from "../support/database.ts";
import { exactly } from "../support/exactly.ts";
import { picture } from "../support/pictures.ts";
import { startServer, temporaryFolder, waitFor } from "../support/server.ts";

const GENERATED_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const database = await testDatabase(t);
const env = {
  TINTYPE_DATABASE_URL: database.url,
  TINTYPE_DATA_DIR: await temporaryFolder(t),
  TINTYPE_WORKER_EMBEDDED: "true",
};
const [server, withCors] = await Promise.all([
  startServer(env),
  startServer({
    ...env,
    TINTYPE_WORKER_EMBEDDED: "false",
    TINTYPE_HTTP_CORS_ORIGINS: "https://app.example.org,http://localhost:5173",
    TINTYPE_HTTP_BODY_LIMIT: "1kb",
    TINTYPE_HTTP_HEADER_TIMEOUT: "500ms",
    TINTYPE_HTTP_REQUEST_TIMEOUT: "1s",
    TINTYPE_PUBLIC_URL: "https://photos.example.org",
  }),
]);
t.teardown(() => Promise.all([server.stop(), withCors.stop()]));
const ana = await server.client.register("ana");

/** Sends bytes as they stand and gives all that comes back until the connection is closed. */
async function sendBytes(url: string, bytes: string | Buffer): Promise<{ status: number; head: string; body: Json }> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, "connect");
  socket.on("error", () => undefined);
  socket.write(bytes);
  const answer = await text(socket);
  const [head = "", body = ""] = answer.split("\r\n\r\n");
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1] ?? 0), head, body: body && JSON.parse(body) };
}

function assertErrorShape(t: Test, answer: { status: number; body: Json }, status: number, code: string, said: string) {
  t.equal(answer.status, status, said);
  t.strictSame(Object.keys(answer.body), ["error"], said);
  t.strictSame(Object.keys(answer.body.error).sort(), ["code", "details", "message", "request_id"], said);
  t.equal(answer.body.error.code, code, said);
  t.type(answer.body.error.message, "string");
  t.type(answer.body.error.details, "object");
}

t.test("every error has one shape", async (t) => {
  const json = { "content-type": "application/json" };
  // To look at each of its strings once a level took ten seconds.
  const deepBody = `{"login":${"[".repeat(2_500)}${'"",'.repeat(19_000)}1${"]".repeat(2_500)},"password":"x"}`;
  const send = async (method: string, path: string, init: { headers?: Record<string, string>; body?: string } = {}) => {
    const headers = { authorization: `Bearer ${ana.token}`, ...init.headers };
    const response = await fetch(`${server.url}${path}`, { method, ...init, headers });
    return { response, answer: { status: response.status, body: (await response.json()) as Json } };
  };
  for (const [status, code, method, path, init] of [
    [404, "ROUTE_NOT_FOUND", "GET", "/", {}],
    [404, "ROUTE_NOT_FOUND", "GET", "/api/v1", {}],
    [404, "ROUTE_NOT_FOUND", "GET", "/api/v1/nowhere", {}],
    [404, "ROUTE_NOT_FOUND", "GET", "/api/v2/me", {}],
    [404, "ROUTE_NOT_FOUND", "PUT", "/api/v1/me", { headers: json, body: "{}" }],
    [404, "MEDIA_NOT_FOUND", "GET", "/media/nothing/large.webp", {}],
    [404, "POST_NOT_FOUND", "GET", "/api/v1/posts/0198f0a4-0000-7000-8000-000000000000", {}],
    [401, "UNAUTHENTICATED", "GET", "/api/v1/me", { headers: { authorization: "" } }],
    [400, "INVALID_JSON", "PATCH", "/api/v1/me", { headers: json, body: "{" }],
    [400, "BODY_TOO_DEEP", "PATCH", "/api/v1/me", { headers: json, body: `${"[".repeat(17)}${"]".repeat(17)}` }],
    [400, "BODY_TOO_DEEP", "POST", "/api/v1/auth/login", { headers: json, body: deepBody }],
    [400, "INVALID_REQUEST", "PATCH", "/api/v1/me", { headers: json, body: "" }],
    [400, "INVALID_REQUEST", "PATCH", "/api/v1/me", { headers: json, body: "[]" }],
    [400, "INVALID_REQUEST", "PATCH", "/api/v1/me", { headers: json, body: '{"bio":{}}' }],
    [400, "INVALID_REQUEST", "GET", "/api/v1/users/%zz", {}],
    [415, "UNSUPPORTED_MEDIA_TYPE", "PATCH", "/api/v1/me", { headers: { "content-type": "text/plain" }, body: "x" }],
    [415, "UNSUPPORTED_MEDIA_TYPE", "PATCH", "/api/v1/me", { headers: { "content-type": "nonsense" }, body: "{}" }],
    [415, "UNSUPPORTED_MEDIA_TYPE", "POST", "/api/v1/posts", { headers: json, body: "{}" }],
    [413, "BODY_TOO_LARGE", "PATCH", "/api/v1/me", { headers: json, body: `{"bio":"${"b".repeat(70_000)}"}` }],
  ] as const) {
    const { response, answer } = await send(method, path, init);
    assertErrorShape(t, answer, status, code, `${method} ${path}: ${code}`);
    t.equal(response.headers.get("content-type"), "application/json; charset=utf-8");
    t.equal(response.headers.get("x-request-id"), answer.body.error.request_id);
  }
  for (const [status, code, bytes] of [
    [404, "ROUTE_NOT_FOUND", "TRACE /api/v1/me HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"],
    [400, "INVALID_REQUEST", "GET /api/v1/users/%c3%28 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"],
    [400, "INVALID_REQUEST", "GET /me HTTP/1.1\r\nconnection: close\r\n\r\n"],
    [400, "INVALID_REQUEST", "this is not HTTP\r\n\r\n"],
    [400, "INVALID_REQUEST", Buffer.from([0x16, 0x03, 0x01, 0x00, 0xa5, 0x01, 0x00, 0x0a])],
    [400, "INVALID_REQUEST", "POST /api/v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n"],
    [
      400,
      "INVALID_REQUEST",
      "POST /api/v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    [431, "HEADERS_TOO_LARGE", `GET /me HTTP/1.1\r\nhost: x\r\nx-large: ${"x".repeat(20_000)}\r\n\r\n`],
    [431, "HEADERS_TOO_LARGE", `GET /me?${"x".repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`],
  ] as const) {
    const said = `${code} for ${JSON.stringify(bytes.toString("latin1")).slice(0, 50)}`;
    const answer = await sendBytes(server.url, bytes);
    assertErrorShape(t, answer, status, code, said);
    t.match(answer.head.toLowerCase(), `\r\nx-request-id: ${answer.body.error.request_id}`, said);
  }
  const small = await fetch(`${withCors.url}/api/v1/auth/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ login: "ana", password: "p".repeat(2000) }),
  });
  assertErrorShape(
    t,
    { status: small.status, body: await small.json() },
    413,
    "BODY_TOO_LARGE",
    "the limit is a setting",
  );
  t.equal((await server.client.request("GET", "/healthz")).status, 200, "and the server is well");
});

t.test("who sends too slowly is told so", async (t) => {
  const slowHead = await sendBytes(withCors.url, "GET /healthz HTTP/1.1\r\nhost: x\r\n");
  assertErrorShape(t, slowHead, 408, "REQUEST_TIMEOUT", "headers that do not end");
  const slowBody = await sendBytes(
    withCors.url,
    "POST /api/v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
  );
  assertErrorShape(t, slowBody, 408, "REQUEST_TIMEOUT", "a body that does not end");
});

t.test("every answer has a request id: the caller's, or a new one", async (t) => {
  const idOf = async (given?: string, path = "/healthz") => {
    const answer = await server.client.request("GET", path, given ? { headers: { "x-request-id": given } } : {});
    return answer.headers.get("x-request-id");
  };
  for (const given of ["abc-123_x.y", "a", "x".repeat(64)]) t.equal(await idOf(given), given);
  for (const given of ["x".repeat(65), "two words", "<script>", "a;b", "ä"]) {
    t.match(await idOf(given), GENERATED_ID, `"${given}" is not taken over`);
  }
  t.not(await idOf(), await idOf());
  t.match(await idOf(undefined, "/nowhere"), GENERATED_ID);

  await ana.request("GET", "/me", { headers: { "x-request-id": "find-me-in-the-log" } });
  const logged = await waitFor(
    async () =>
      server
        .output()
        .split("\n")
        .find((line) => line.includes("find-me-in-the-log")),
    "the request's log line",
  );
  t.match(JSON.parse(logged), { method: "GET", path: "/api/v1/me", status: 200, user_id: ana.id, level: "info" });
});

t.test("security headers are on every answer", async (t) => {
  for (const path of ["/healthz", "/me", "/nowhere", "/docs", "/openapi.json", "/media/x/large.webp"]) {
    const { headers } = await server.client.request("GET", path);
    t.equal(headers.get("x-content-type-options"), "nosniff", path);
    t.equal(headers.get("x-frame-options"), "SAMEORIGIN", path);
    t.match(
      headers.get("content-security-policy"),
      path === "/docs" ? /default-src 'self'/ : /default-src 'none'/,
      path,
    );
    t.equal(headers.get("referrer-policy"), "no-referrer", path);
    t.equal(headers.get("x-powered-by"), null);
    t.equal(headers.get("set-cookie"), null);
    t.equal(headers.get("strict-transport-security"), null, "over http: none");
  }
  const { headers } = await withCors.client.request("GET", "/healthz");
  t.match(headers.get("strict-transport-security"), /max-age=\d+/, "a public URL of https");
});

t.test("CORS is off, and on for the origins of the configuration", async (t) => {
  const ask = async (url: string, origin: string) => {
    const preflight = await fetch(`${url}/api/v1/me`, {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "PATCH",
        "access-control-request-headers": "authorization,content-type",
      },
    });
    const answer = await fetch(`${url}/healthz`, { headers: { origin } });
    return { preflight, answer, allowed: answer.headers.get("access-control-allow-origin") };
  };
  t.equal((await ask(server.url, "https://app.example.org")).allowed, null);
  for (const origin of ["https://app.example.org", "http://localhost:5173"]) {
    const { preflight, allowed, answer } = await ask(withCors.url, origin);
    t.equal(allowed, origin);
    t.equal(preflight.status, 204);
    t.equal(preflight.headers.get("access-control-allow-origin"), origin);
    t.match(preflight.headers.get("access-control-allow-methods"), /PATCH/);
    t.match(preflight.headers.get("access-control-allow-headers"), /authorization/i);
    t.match(answer.headers.get("access-control-expose-headers"), /x-request-id/);
    t.match(answer.headers.get("vary"), /origin/i);
  }
  for (const origin of ["https://evil.example.org", "https://app.example.org.evil.org", "null"]) {
    t.equal((await ask(withCors.url, origin)).allowed, null, origin);
  }
});

t.test("/openapi.json describes what is there", async (t) => {
  const answer = await server.client.request("GET", "/openapi.json");
  t.equal(answer.status, 200);
  const document = answer.body;
  t.match(document, { openapi: /^3\.1\./, info: { title: "Tintype", version: /^\d+\.\d+\.\d+$/ } });
  t.strictSame(document.servers, [{ url: server.url }]);

  const ajv = new Ajv2020({ strict: false, formats: { "date-time": true } });
  const operationIds = new Set<string>();
  let operations = 0;
  for (const [path, item] of Object.entries<Json>(document.paths)) {
    for (const [method, operation] of Object.entries<Json>(item)) {
      operations++;
      const said = `${method} ${path}`;
      t.match(operation, { summary: /\S/, tags: exactly(/\S/) }, said);
      t.ok(Object.keys(operation.responses).length > 0, said);
      t.ok(operation.operationId === undefined || !operationIds.has(operation.operationId), said);
      operationIds.add(operation.operationId);
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
      const described = (operation.parameters ?? []).filter((parameter: Json) => parameter.in === "path");
      t.strictSame(described.map((parameter: Json) => parameter.name).sort(), inPath.sort(), said);
      const isPublic =
        !path.startsWith("/api/v1/") || /auth\/(register|login|email\/confirm|password\/reset(\/confirm)?)$/.test(path);
      t.strictSame(operation.security, isPublic ? undefined : [{ token: [] }], said);
      const contents = [operation.requestBody, ...Object.values<Json>(operation.responses)].flatMap((part) =>
        Object.values<Json>(part?.content ?? {}),
      );
      for (const schema of [...contents, ...(operation.parameters ?? [])].map((part) => part.schema)) {
        t.ok(ajv.validateSchema(schema), `${said}: ${ajv.errorsText()}`);
      }
    }
  }
  t.ok(operations >= 20, `${operations} operations`);

  const described = (path: string, method: string, status: number) => {
    const { schema } = document.paths[path][method].responses[status].content["application/json"];
    return ajv.compile({ ...schema, required: Object.keys(schema.properties) });
  };
  const id = await ana.post([await picture({ width: 16, height: 16 })]);
  const post = await waitFor(async () => {
    const { body } = await ana.request("GET", `/posts/${id}`);
    return body.status === "published" && body;
  }, "the post");
  for (const [path, real, method, status, body] of [
    ["/api/v1/me", "/me", "get", 200],
    ["/api/v1/users/{username}", "/users/ana", "get", 200],
    ["/api/v1/users/{username}/followers", "/users/ana/followers", "get", 200],
    ["/api/v1/users/{username}/posts", "/users/ana/posts", "get", 200],
    ["/api/v1/posts/{id}", `/posts/${id}`, "get", 200, post],
    ["/api/v1/feed", "/feed", "get", 200],
    ["/readyz", "/readyz", "get", 200],
    ["/healthz", "/healthz", "get", 200],
  ] as const) {
    const given: Json = body ?? ((await ana.request("GET", real)) as Answer).body;
    const validate = described(path, method, status);
    t.ok(validate(given), `${path} answers what is described: ${ajv.errorsText(validate.errors)}`);
  }
});

t.test("/docs reads without any other host", async (t) => {
  const page = await fetch(`${server.url}/docs`);
  t.equal(page.status, 200);
  t.match(page.headers.get("content-type"), "text/html");
  const html = await page.text();
  const loaded = [...html.matchAll(/<(?:script|link|img)[^>]*\s(?:src|href)="([^"]+)"/g)].map((match) => match[1]);
  t.ok(loaded.length > 0, "the page loads its script");
  for (const address of loaded) {
    const url = new URL(String(address), page.url);
    t.equal(url.origin, server.url, String(address));
    const part = await fetch(url);
    t.equal(part.status, 200);
    t.ok((await part.arrayBuffer()).byteLength > 1000);
  }
  t.match(html, "/openapi.json");
  for (const [, policy = ""] of (page.headers.get("content-security-policy") ?? "").matchAll(/[\w-]+-src ([^;]+)/g)) {
    t.strictSame(
      policy.split(" ").filter((source) => !source.startsWith("'") && source !== "data:" && source !== "blob:"),
      [],
      "and the browser would not let it load anything from elsewhere",
    );
  }
});

t.test("health, readiness and metrics", async (t) => {
  t.strictSame((await server.client.request("GET", "/healthz")).body, { status: "ok" });
  const ready = await server.client.request("GET", "/readyz");
  t.equal(ready.status, 200);
  t.match(ready.body, { status: "ready", dependencies: { postgres: { state: "up" }, media: { state: "up" } } });
  for (const { latency_ms } of Object.values<Json>(ready.body.dependencies)) t.type(latency_ms, "number");

  await ana.post([await picture({ width: 16, height: 16 })]);
  const metrics = await waitFor(async () => {
    const answer = await server.client.request("GET", "/metrics");
    t.match(answer.headers.get("content-type"), /^text\/plain/);
    const said = answer.bytes.toString();
    return /^instagram_image_processing_seconds_count 2$/m.test(said) && said;
  }, "two pictures in the metrics");
  for (const line of [
    /^# TYPE instagram_http_requests_total counter$/m,
    /^instagram_http_requests_total\{method="GET",path="\/api\/v1\/posts\/:id",status_code="200"\} \d+$/m,
    /^instagram_http_requests_total\{method="GET",path="unmatched",status_code="404"\} \d+$/m,
    /^# TYPE instagram_http_request_duration_seconds histogram$/m,
    /^instagram_http_request_duration_seconds_bucket\{le="0.05",method="GET",path="\/api\/v1\/me"\} \d+$/m,
    /^# TYPE instagram_posts_created_total counter$/m,
    /^instagram_posts_created_total 2$/m,
    /^# TYPE instagram_image_processing_seconds histogram$/m,
    /^instagram_image_processing_seconds_bucket\{le="30"\} 2$/m,
    /^process_resident_memory_bytes \d+$/m,
  ]) {
    t.match(metrics, line);
  }
  const buckets = (name: string) => [
    ...new Set([...metrics.matchAll(new RegExp(`^${name}_bucket\\{le="([^"]+)"`, "gm"))].map((match) => match[1])),
  ];
  t.strictSame(buckets("instagram_http_request_duration_seconds"), [
    "0.01",
    "0.05",
    "0.1",
    "0.5",
    "1",
    "2",
    "5",
    "+Inf",
  ]);
  t.strictSame(buckets("instagram_image_processing_seconds"), ["0.5", "1", "2", "5", "10", "30", "+Inf"]);
  t.notMatch(metrics, /path="[^"]*(nowhere|ana)/, "paths are routes: no label for every URL that anybody thinks of");
});
