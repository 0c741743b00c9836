/** What the product does with accounts. */
export { changeAccount } from "../../../plugins/accounts/accounts.ts";
export { deleteByOperator, setSuspended } from "../../../plugins/accounts/lifecycle.ts";
