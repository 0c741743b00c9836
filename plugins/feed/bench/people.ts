import { setTimeout as sleep } from "node:timers/promises";
import sharp from "sharp";
import { describe } from "../../../src/db/database.ts";
import { DependencyError, OperationError } from "../../../src/errors.ts";
import { PAGE } from "./requests.ts";

/** Milliseconds until the bench gives up waiting for a post. */
const PATIENCE = 60_000;
/** Milliseconds between two looks for it. */
const LOOK_EVERY = 5;

/** Somebody who is signed in and speaks to a server as any client would. */
export interface Person {
  username: string;
  token: string;
  /** @throws OperationError for any answer but a success. */
  call(method: string, path: string, body?: object): Promise<ReturnType<typeof JSON.parse>>;
  /** Posts a small picture. @returns the id of the post, which is being processed. */
  post(): Promise<string>;
}

/** @param origin `http://HOST:PORT` */
export function person(origin: string, { username, token }: Pick<Person, "username" | "token">): Person {
  const send = async (method: string, path: string, init: { body?: FormData | string; type?: string }) => {
    const response = await ask(`${origin}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(init.type === undefined ? {} : { "content-type": init.type }) },
      ...(init.body === undefined ? {} : { body: init.body }),
    });
    const text = await response.text();
    if (!response.ok) throw new OperationError(`${method} ${path} was answered ${response.status}: ${text}`);
    return text === "" ? null : JSON.parse(text);
  };
  return {
    username,
    token,
    call: (method, path, body) =>
      send(method, path, body === undefined ? {} : { body: JSON.stringify(body), type: "application/json" }),
    async post() {
      const body = new FormData();
      body.append("media", new Blob([new Uint8Array(await picture())]), "picture.png");
      return (await send("POST", "/posts", { body })).post_id;
    },
  };
}

/** Registers somebody of a name that nobody has. */
export async function register(origin: string, username: string, password: string): Promise<Person> {
  const response = await ask(`${origin}/api/v1/auth/register`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username, email: `${username}@example.org`, password }),
  });
  const text = await response.text();
  if (!response.ok) throw new OperationError(`${username} could not be registered: ${response.status} ${text}`);
  return person(origin, { username, token: JSON.parse(text).token });
}

async function ask(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    // Node says only "fetch failed", and in its cause why.
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    throw new DependencyError(`${new URL(url).origin} does not answer: ${describe(cause)}`, { cause });
  }
}

/** Waits until the post is published. @returns when it was, in milliseconds of the epoch by the server's clock. */
export async function publication(author: Person, postId: string): Promise<number> {
  return until(`${postId} to be published`, async () => {
    const { published_at, failure } = await author.call("GET", `/posts/${postId}`);
    if (failure) throw new OperationError(`a post failed: ${failure.message}`);
    return published_at === null ? undefined : Date.parse(published_at);
  });
}

/** Waits until the post is the first of the follower's feed. */
export async function arrival(follower: Person, postId: string): Promise<void> {
  const path = PAGE.replace("/api/v1", "");
  await until(`${postId} to be in a follower's feed`, async () => {
    const { items } = await follower.call("GET", path);
    return items[0]?.id === postId ? true : undefined;
  });
}

export async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const end = performance.now() + PATIENCE;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new OperationError(`waited ${PATIENCE / 1000} s in vain for ${what}`);
    await sleep(LOOK_EVERY);
  }
}

let made = 0;

/** Small, so that what is measured is not its processing; each another, as each photo is. */
function picture(): Promise<Buffer> {
  const shade = made++;
  const background = { r: shade & 255, g: (shade >> 8) & 255, b: 128 };
  return sharp({ create: { width: 200, height: 200, channels: 3, background } })
    .png()
    .toBuffer();
}
