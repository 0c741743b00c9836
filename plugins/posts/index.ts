/** Posts: pictures with a caption, published when they are processed. */
export { parsedCaptions } from "./captions.ts";
export { commentCountOf, likeCountOf } from "./engagement.ts";
export { postNotFound, postNotPublished } from "./errors.ts";
export { hotEngagement } from "./hot-engagement.ts";
export { type HotPost, hotPosts } from "./hot-posts.ts";
export { forgetDelay, forgetPost, leftoverCounter } from "./leftovers.ts";
export { sendPosts } from "./pages.ts";
export { requirePost } from "./posts.ts";
export { Post, toPost } from "./schemas.ts";
export { requirePublished, type SeenPost, seenPost } from "./seen.ts";
export { type CaptionedPost, listPublished, type PublishedPosition, postsByIds } from "./store.ts";
