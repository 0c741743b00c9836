/** Posts: pictures with a caption, published when they are processed. */
export { hotPosts } from "./hot-posts.ts";
export { Post, toPost } from "./schemas.ts";
export { listPublished, type PublishedPosition, postsByIds } from "./store.ts";
