import { randomBytes } from "node:crypto";
import { type Person, publication, register } from "./people.ts";

/** Accounts that a bench has registered on a server that it did not start. */
export interface Registered {
  people: Person[];
  /** Has all of them deleted. */
  remove(): Promise<void>;
}

/** Names are each run's own, so that what an interrupted one left is in nobody's way. */
export async function registerPeople(target: string, count: number): Promise<Registered> {
  const run = randomBytes(4).toString("hex");
  const password = randomBytes(18).toString("base64url");
  const people: Person[] = [];
  const remove = async () => {
    for (const one of people) await one.call("DELETE", "/me", { password });
  };
  try {
    while (people.length < count) people.push(await register(target, `bench_${run}_${people.length}`, password));
    return { people, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Each posts once, and follows the next `following` of the circle. */
export async function befriend(people: readonly Person[], following: number): Promise<void> {
  for (const [index, one] of people.entries()) {
    for (let step = 1; step <= Math.min(following, people.length - 1); step++) {
      const { username } = people[(index + step) % people.length] ?? one;
      await one.call("POST", `/users/${username}/follow`);
    }
  }
  const posts: [Person, string][] = [];
  for (const one of people) posts.push([one, await one.post()]);
  for (const [one, postId] of posts) await publication(one, postId);
}
