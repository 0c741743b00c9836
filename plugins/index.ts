import type { Feature } from "../src/feature.ts";
import { accounts } from "./accounts/plugin.ts";
import { feed } from "./feed/plugin.ts";
import { graph } from "./graph/plugin.ts";
import { media } from "./media/plugin.ts";
import { posts } from "./posts/plugin.ts";

/** Every feature of the program, each after those that it requires. */
export const features: readonly Feature[] = [accounts, graph, media, posts, feed];
