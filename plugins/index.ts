import type { Feature } from "../src/feature.ts";
import { accounts } from "./accounts/plugin.ts";
import { avatars } from "./avatars/plugin.ts";
import { comments } from "./comments/plugin.ts";
import { exports } from "./exports/plugin.ts";
import { feed } from "./feed/plugin.ts";
import { graph } from "./graph/plugin.ts";
import { idempotency } from "./idempotency/plugin.ts";
import { likes } from "./likes/plugin.ts";
import { limits } from "./limits/plugin.ts";
import { media } from "./media/plugin.ts";
import { notifications } from "./notifications/plugin.ts";
import { posts } from "./posts/plugin.ts";
import { saves } from "./saves/plugin.ts";
import { search } from "./search/plugin.ts";
import { stories } from "./stories/plugin.ts";
import { tags } from "./tags/plugin.ts";
import { tickets } from "./tickets/plugin.ts";

/** Every feature of the program, each after those that it requires. */
export const features: readonly Feature[] = [
  tickets,
  accounts,
  idempotency,
  graph,
  media,
  avatars,
  posts,
  stories,
  feed,
  likes,
  comments,
  saves,
  tags,
  notifications,
  exports,
  search,
  limits,
];
