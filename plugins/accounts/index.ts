/** Accounts: who people are, how they sign in. */
export { requireAccount } from "./accounts.ts";
export { userNotFound } from "./errors.ts";
export { toUser, User, UserParams } from "./schemas.ts";
export { type AccountRow, addToCounter, lockAccounts } from "./store.ts";
