import type { Answer } from "../client.ts";
import type { Disturbance, PersonStep } from "./steps.ts";

/** What is not certain for now: it is under way, or need not have come to every server yet. */
export class Doubts {
  readonly #until = new Map<string, { time: number; except: number | undefined }>();

  /**
   * @param key see `keysOf`
   * @param time of Date.now(), from which on it is certain
   * @param except the server on which it is certain already
   */
  add(key: string, time: number, except?: number): void {
    this.#until.set(key, { time, except });
  }

  /** Whether one of them was in doubt at this time, for whoever asked this server. */
  any(keys: readonly string[], time: number, server: number): boolean {
    return keys.some((key) => {
      const doubt = this.#until.get(key);
      return doubt !== undefined && time < doubt.time && server !== doubt.except;
    });
  }

  get latest(): number {
    return Math.max(0, ...[...this.#until.values()].map(({ time }) => time));
  }
}

export const pairKey = (one: string, other: string) => `pair ${[one, other].sort().join(" ")}`;
export const accountKey = (name: string) => `account ${name}`;
export const privacyKey = (name: string) => `privacy ${name}`;
export const postKey = (id: string) => `post ${id}`;
export const captionKey = (id: string) => `caption ${id}`;

/** A step that was carried out. */
export interface Done {
  step: PersonStep;
  /** Whatever it is about: a post's id. */
  postId?: string;
  time: number;
  answer: Answer | null;
}

/** What a round changes: whether other servers learn of it later, and which one took it. */
export function* keysOf(
  done: readonly Done[],
  disturbance: Disturbance | null,
): Generator<{ key: string; later: boolean; server: number | null }> {
  for (const { step, postId } of done) {
    const { server } = step;
    if (step.step === "graph") {
      const { operation } = step;
      if ("whom" in operation) yield { key: pairKey(operation.who, operation.whom), later: false, server };
      else {
        yield { key: privacyKey(operation.who), later: true, server };
        // Those who asked to follow do now.
        if (operation.change === "public") yield { key: accountKey(operation.who), later: false, server };
      }
    } else if (step.step === "delete" && postId) yield { key: postKey(postId), later: true, server };
    else if (step.step === "caption" && postId) yield { key: captionKey(postId), later: true, server };
  }
  if (disturbance && "who" in disturbance) yield { key: accountKey(disturbance.who), later: true, server: null };
}
