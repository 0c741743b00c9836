import type { FastifyReply, FastifyRequest, RouteOptions } from "fastify";
import type { Context } from "../../src/context.ts";
import { bodyTooLarge } from "../../src/http/errors.ts";
import type { App, LimitName } from "../../src/http/types.ts";
import { Desk, type Wanted } from "./desk.ts";
import { openLimiter } from "./limiter.ts";
import { accountLoginLimit, type Limit, limitOf } from "./limits.ts";
import { loginGuard } from "./logins.ts";
import { placeKeeper } from "./places.ts";
import { isOwnMachine, subjectOfAddress } from "./subjects.ts";

/** Of each context, for there are two scopes of routes. */
const desks = new WeakMap<Context, Desk>();

/** Has the limits kept that routes name in their configuration. Routes that name none cost nothing. */
export async function guardRoutes(scope: App, context: Context): Promise<void> {
  const desk = desks.get(context) ?? new Desk(() => openLimiter(context));
  desks.set(context, desk);
  scope.decorateRequest("places", null);
  if (context.config.limits.enabled) scope.addHook("onRequest", placeKeeper(context));
  scope.addHook("onRoute", (route) => {
    const names = namesOf(route);
    const limits = names.flatMap((name) => limitOf(context.config, name) ?? []);
    // Of wrong passwords there is a limit by name too, which may be the only one.
    const isLogin = names.includes("login");
    if (limits.length === 0 && !(isLogin && accountLoginLimit(context.config))) return;
    const guard = isLogin ? loginGuard(context, desk) : { onRequest: admitting(desk, limits) };
    addHooks(route, guard, answering(desk, limits));
  });
}

type Hook = (request: FastifyRequest, reply: FastifyReply) => Promise<void>;

/** They come behind the hooks of the scope: by then it is known who asks, and whether for a repeat. */
function addHooks(
  route: RouteOptions,
  { onRequest, preHandler }: { onRequest?: Hook; preHandler?: Hook },
  onSend: Hook,
): void {
  if (onRequest) route.onRequest = [...[route.onRequest ?? []].flat(), onRequest];
  if (preHandler) route.preHandler = [...[route.preHandler ?? []].flat(), preHandler];
  route.onSend = [...[route.onSend ?? []].flat(), onSend];
}

function answering(desk: Desk, limits: readonly Limit[]): Hook {
  return async (request, reply) => {
    await desk.settle(request, reply);
    // Refused before any place was asked for, as a body that is none.
    if (reply.hasHeader("x-ratelimit-limit")) return;
    const told = limits.flatMap((limit) => nameOf(request, limit) ?? [])[0];
    if (told) await desk.tell(reply, told);
  };
}

function namesOf({ config }: RouteOptions): readonly LimitName[] {
  return config?.limit === undefined ? [] : [config.limit].flat();
}

function admitting(desk: Desk, limits: readonly Limit[]): Hook {
  return async (request, reply) => {
    const wanted = limits.flatMap((limit) => wantedBy(request, limit) ?? []);
    if (wanted.length > 0) await desk.admit(request, reply, wanted);
  };
}

function wantedBy(request: FastifyRequest, limit: Limit): Wanted | null {
  const named = nameOf(request, limit);
  return named && { ...named, amount: amountOf(request, limit) };
}

/** Null where it does not hold, or is not known yet for whom it does. */
function nameOf(request: FastifyRequest, limit: Limit): Pick<Wanted, "limit" | "name"> | null {
  const subject = subjectOf(request, limit);
  return subject === null ? null : { limit, name: { limit: limit.name, subject } };
}

/**
 * A repeat of an answer does nothing again; but its body is read, to see whether it is the same. Of one with a password that is
 * a guess like any other, and as dear to check.
 */
function amountOf(request: FastifyRequest, limit: Limit): number {
  if (limit.unit === "byte") return bytesOf(request, limit);
  return request.idempotency?.replays && !request.routeOptions.config.secretBody ? 0 : 1;
}

function subjectOf({ viewer, ip, routeOptions }: FastifyRequest, { by }: Limit): string | null {
  if (by === "address, but the machine's own" && isOwnMachine(ip)) return null;
  if (by.startsWith("address")) return subjectOfAddress(ip);
  if (viewer === null) return routeOptions.config.public ? subjectOfAddress(ip) : null;
  return by === "session" ? viewer.session_id : viewer.id;
}

/** Of a body that does not tell its length, as much as it may have, if there is so much in all. */
function bytesOf({ headers, routeOptions }: FastifyRequest, { rule }: Limit): number {
  const length = headers["content-length"];
  if (length === undefined) return Math.min(routeOptions.config.largestBody ?? rule.most, rule.most);
  // No time would come at which it could be sent.
  if (Number(length) > rule.most) throw bodyTooLarge({});
  return Number(length);
}
