import type { Context } from "../../src/context.ts";
import { type Db, inTransaction } from "../../src/db/transaction.ts";
import { keepAnswer } from "../../src/http/idempotency.ts";
import { redeemLink } from "./links.ts";
import { requireMail } from "./mails.ts";
import { setEmailConfirmed } from "./store.ts";

/** Has a link mailed by which the account's email is confirmed, if it is not. @throws 422 where no mail is sent. */
export async function requestConfirmation(
  { config, db, enqueue }: Pick<Context, "config" | "db" | "enqueue">,
  userId: string,
): Promise<{ status: "accepted" }> {
  requireMail(config);
  const answer = { status: "accepted" } as const;
  await inTransaction(db, async (tx) => {
    await enqueue(tx, "accounts.mail", { kind: "email_confirmation", user_id: userId });
    await keepAnswer(tx, 202, answer);
  });
  return answer;
}

/** Whoever has the link reads that email. @throws 422 for a link that is not good any more. */
export async function confirmEmail(db: Db, token: string): Promise<void> {
  await inTransaction(db, async (tx) => {
    const { id } = await redeemLink(tx, "email_confirmation", token);
    await setEmailConfirmed(tx, id);
  });
}
