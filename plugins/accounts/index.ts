/** Accounts: who people are, how they sign in. */

export { requireAccount, requireActive } from "./accounts.ts";
export { type AvatarIds, avatarOf, setAvatar, setAvatarUpload } from "./avatar-store.ts";
export { type Card, cards } from "./cards.ts";
export { userNotFound } from "./errors.ts";
export { Account, toAccount, toUser, User, UserParams } from "./schemas.ts";
export {
  type AccountRow,
  accountById,
  addToCounter,
  addToCounters,
  byLogin,
  lockAccounts,
  USER_COLUMNS,
  type UserRow,
} from "./store.ts";
