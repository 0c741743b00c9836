/** Posts: pictures with a caption, published when they are processed. */
export { Post, toPost } from "./schemas.ts";
export { type PublishedPosition, postsByIds } from "./store.ts";
