import type { FastifyReply, FastifyRequest } from "fastify";
import type { Context } from "../../src/context.ts";
import type { Desk } from "./desk.ts";
import { accountLoginLimit, limitOf } from "./limits.ts";
import { isKnownPlace } from "./store.ts";
import { placeOf, subjectOfAddress, subjectOfLogin } from "./subjects.ts";

/**
 * Wrong passwords, by address and by name. Places are taken before a password is checked, so that no more can be wrong than
 * may be; who is right gives theirs back.
 *
 * The one by name binds only addresses from which nobody has signed in to that account, or else anybody could lock its
 * owner out. It goes by what was typed and not by the account: names that are nobody's are limited alike, and a name and
 * an email do not show that they belong together.
 */
export function loginGuard(context: Context, desk: Desk) {
  const { config, db } = context;
  const byAddress = limitOf(config, "login");
  const byName = accountLoginLimit(config);
  return {
    async preHandler(request: FastifyRequest, reply: FastifyReply): Promise<void> {
      const { login } = request.body as { login: string };
      if (byAddress) {
        const name = { limit: byAddress.name, subject: subjectOfAddress(request.ip) };
        await desk.admit(request, reply, [{ limit: byAddress, name, amount: 1 }]);
      }
      if (byName === null || (await isKnownPlace(db, login.trim(), placeOf(request.ip)))) return;
      const name = { limit: byName.name, subject: subjectOfLogin(login) };
      await desk.admit(request, reply, [{ limit: byName, name, amount: 1 }]);
    },
  };
}
