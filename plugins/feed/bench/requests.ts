import type { KeptAnswer, RequestClass } from "../../../src/bench/load/plan.ts";
import { requestOf } from "../../../src/bench/request.ts";
import { OperationError } from "../../../src/errors.ts";

/** What is asked for all the time: the first page of a feed. */
export const PAGE = "/api/v1/feed?limit=20";

/** Pages for these tokens, the first of whom comes most often. */
export function pagesOf(
  host: string,
  tokens: readonly string[],
  options: Partial<RequestClass> & { path?: string } = {},
): RequestClass {
  const { path = PAGE, ...rest } = options;
  const requests = tokens.map((token) => requestOf({ host, path, token }));
  return { name: "pages", share: 1, draw: "zipf", requests, keepOneOf: 0, ...rest };
}

export interface FeedBody {
  items: { id: string; author: { id: string; username: string }; media: { urls: Record<string, string> }[] }[];
  degraded: boolean;
}

export function feedIn({ status, body }: Pick<KeptAnswer, "status" | "body">): FeedBody {
  if (status !== 200) throw new OperationError(`a feed was answered ${status}: ${body.toString().slice(0, 500)}`);
  return JSON.parse(body.toString());
}
