import type { Db } from "../../src/db/transaction.ts";
import { OperationError } from "../../src/errors.ts";
import { HttpError } from "../../src/http/errors.ts";
import { requireAccount } from "../accounts/index.ts";

/** The account that an operator names. @throws OperationError when there is none. */
export async function accountNamed(db: Db, name: string): Promise<{ id: string; username: string }> {
  try {
    return await requireAccount(db, name);
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    throw new OperationError(error.message, { hint: "`tintype users list` shows who there is.", cause: error });
  }
}

/** The same, where the operator may name nobody and mean everybody. */
export async function ownerNamed(db: Db, name: string | undefined): Promise<string | null> {
  return name === undefined ? null : (await accountNamed(db, name)).id;
}
