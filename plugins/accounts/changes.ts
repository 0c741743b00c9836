import type { Context } from "../../src/context.ts";
import type { Tx } from "../../src/db/transaction.ts";

declare module "../../src/events.ts" {
  interface Events {
    /** What others see of it wherever it is listed: its name, display name, privacy or avatar, or whether it is there for them at all. */
    "account.changed": { user_id: string };
  }
}

declare module "../../src/notices.ts" {
  interface NoticeTopics {
    /** The same as the event, to all servers. */
    "account.changed": "user_id";
  }
}

/** Tells features and servers that others see something else of an account from this transaction on. */
export async function announceChange(
  tx: Tx,
  { emit, notices }: Pick<Context, "emit" | "notices">,
  userId: string,
): Promise<void> {
  await emit(tx, "account.changed", { user_id: userId });
  await notices.tell(tx, "account.changed", userId);
}
