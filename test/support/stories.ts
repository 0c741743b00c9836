import type { Client, Json, SignedIn } from "./client.ts";
import { waitFor } from "./server.ts";

/** The multipart form of a story. */
export function storyForm(picture: Buffer, fields: Record<string, string> = {}): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("media", new Blob([Uint8Array.from(picture)]), "story");
  return form;
}

/** Uploads a story; the answer must be 202. @returns its id. */
export async function postStory(author: SignedIn, ...form: Parameters<typeof storyForm>): Promise<string> {
  const { status, body, bytes } = await author.request("POST", "/stories", { form: storyForm(...form) });
  if (status !== 202) throw new Error(`story: ${status} ${bytes}`);
  return String(body.story_id);
}

/** Waits until a story is no longer being processed. @returns it as its author reads it. */
export async function processedStory(author: Client, id: string): Promise<Json> {
  return waitFor(async () => {
    const { status, body } = await author.request("GET", `/stories/${id}`);
    return status === 200 && body.status !== "processing" && body;
  }, `story ${id} to be processed`);
}

/** Uploads a story and waits until it is published. @returns it as its author reads it. */
export async function publishStory(author: SignedIn, ...form: Parameters<typeof storyForm>): Promise<Json> {
  const story = await processedStory(author, await postStory(author, ...form));
  if (story.status !== "published") throw new Error(`the story is ${story.status}: ${JSON.stringify(story.failure)}`);
  return story;
}
