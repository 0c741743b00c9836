import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { Answer, SignedIn } from "../../test/support/client.ts";
import type { Mutant } from "./mutate.ts";

/** How a mutant ended, or that it must not have ended so. */
export interface Outcome {
  end: "refused" | "published" | "failed" | "VIOLATION";
  /** The code of the refusal or the failure; what is wrong, of a violation. */
  code: string;
  /** What the decoder said in its own words; "" where it was not asked. */
  detail: string;
}

/** Hands mutants to the service as its clients would, and learns how each has ended. */
export interface Feed {
  outcomes: ReadonlyMap<number, Outcome>;
  /** Uploads mutants as one post, and those that are left again when one is refused. */
  upload(author: SignedIn, mutants: readonly Mutant[]): Promise<void>;
  /** Writes down what has ended since. @returns how many are still being processed. */
  look(): Promise<number>;
  /** Calls those stuck that are still being processed. */
  giveUp(): void;
}

export function createFeed(sql: pg.Pool): Feed {
  const outcomes = new Map<number, Outcome>();
  /** Mutants by medium, until they have ended. */
  const open = new Map<string, Mutant>();

  /** @returns those that are left to be uploaded. */
  async function post(author: SignedIn, mutants: readonly Mutant[]): Promise<readonly Mutant[]> {
    const answer = await author.request("POST", "/posts", { form: formOf(mutants) });
    const { status, body } = answer;
    if (status === 202) {
      const { rows } = await sql.query<{ medium_id: string }>(
        "SELECT medium_id FROM post_media WHERE post_id = $1 ORDER BY position",
        [body.post_id],
      );
      for (const [position, { medium_id }] of rows.entries()) {
        const mutant = mutants[position];
        if (mutant) open.set(medium_id, mutant);
      }
      return [];
    }
    if (status === 503 && answer.headers.has("retry-after")) {
      await sleep(Number(answer.headers.get("retry-after")) * 1_000);
      return mutants;
    }
    const refused = refusedOf(answer, mutants);
    if (!refused) {
      // Nobody is named, so each is asked for alone.
      if (mutants.length > 1) {
        for (const mutant of mutants) await upload(author, [mutant]);
        return [];
      }
      const what = `answered ${status} ${answer.bytes.toString().slice(0, 200)}`;
      for (const { index } of mutants) outcomes.set(index, { end: "VIOLATION", code: what, detail: "" });
      return [];
    }
    outcomes.set(refused.index, { end: "refused", code: `${status} ${body.error.code}`, detail: "" });
    return mutants.filter((mutant) => mutant !== refused);
  }

  async function upload(author: SignedIn, mutants: readonly Mutant[]): Promise<void> {
    for (let left = mutants; left.length > 0; ) left = await post(author, left);
  }

  return {
    outcomes,
    upload,
    async look() {
      const { rows } = await sql.query<{ id: string; state: string; code: string | null; said: string | null }>(
        `SELECT media.id, media.state, failure_code AS code,
           (SELECT coalesce(source_output->>'message', source_output->'value'->>'message') FROM pgboss.job
            WHERE name = 'dead_letters' AND data->>'medium_id' = media.id::text LIMIT 1) AS said
         FROM media WHERE id = ANY($1) AND state <> 'processing'`,
        [[...open.keys()]],
      );
      for (const { id, state, code, said } of rows) {
        const mutant = open.get(id);
        if (!mutant) continue;
        open.delete(id);
        outcomes.set(mutant.index, endOf(state, code, said));
      }
      return open.size;
    },
    giveUp() {
      for (const { index } of open.values())
        outcomes.set(index, { end: "VIOLATION", code: "still being processed", detail: "" });
      open.clear();
    },
  };
}

function endOf(state: string, code: string | null, said: string | null): Outcome {
  if (state === "ready") return { end: "published", code: "", detail: "" };
  if (state === "failed" && code) return { end: "failed", code, detail: said ?? "" };
  return { end: "VIOLATION", code: `is ${state} without a reason`, detail: "" };
}

function formOf(mutants: readonly Mutant[]): FormData {
  const form = new FormData();
  for (const { index, file } of mutants) form.append("media", new Blob([Uint8Array.from(file)]), `mutant-${index}`);
  return form;
}

/** Which of them a refusal speaks of. */
function refusedOf({ status, body }: Answer, mutants: readonly Mutant[]): Mutant | undefined {
  if (status < 400 || status >= 500 || typeof body?.error?.code !== "string") return undefined;
  const position: unknown = body.error.details?.position;
  if (typeof position === "number") return mutants[position - 1];
  const name = /mutant-(\d+)/.exec(String(body.error.message))?.[1];
  if (name !== undefined) return mutants.find(({ index }) => index === Number(name));
  return mutants.length === 1 ? mutants[0] : undefined;
}
