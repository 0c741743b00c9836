/** The graph: who follows whom, and who may see whom. */

export { maySee } from "./store.ts";
export { mayBeSeenBy } from "./visibility.ts";
