import type { Context } from "../../src/context.ts";
import { deleteSomeTags } from "./store.ts";

const BATCH = 1_000;

/** Takes the account's posts out of the lists of their hashtags. */
export async function eraseTags({ db }: Pick<Context, "db">, userId: string, signal: AbortSignal): Promise<void> {
  for (let left = true; left; ) {
    signal.throwIfAborted();
    left = (await deleteSomeTags(db, userId, BATCH)) === BATCH;
  }
}
