/** Likes of posts. */

export type { RolledUp } from "./roll-up.ts";
