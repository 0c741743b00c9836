import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import type { Json } from "./client.ts";

/** A post that is being uploaded, as slowly as the test wants. */
export interface OpenUpload {
  /** Sends so many more bytes of the file; resolves when the connection took them. */
  send(bytes: number): Promise<void>;
  /** Ends the file and the request. */
  finish(): Promise<{ status: number; body: Json }>;
  /** Breaks the connection. */
  abort(): void;
  /** What finish gives; rejects when the connection breaks. */
  answer: Promise<{ status: number; body: Json }>;
}

/**
 * Begins to upload a post of one picture, which is sent at once; whatever is sent behind it is padding. Resolves after
 * the server has accepted the request, which it says by 100 Continue.
 */
export async function openUpload(
  url: string,
  token: string,
  picture: Buffer,
  headers: Record<string, string> = {},
): Promise<OpenUpload> {
  const boundary = "a-boundary-of-the-tests";
  const upload = request(`${url}/api/v1/posts`, {
    method: "POST",
    agent: false,
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": `multipart/form-data; boundary=${boundary}`,
      expect: "100-continue",
      ...headers,
    },
  });
  upload.flushHeaders();
  const accepted = once(upload, "continue");
  const answer = once(upload, "response").then(async ([response]) => ({
    status: Number(response.statusCode),
    body: (await json(response)) as Json,
  }));
  // Looked at by whoever waits for the answer.
  answer.catch(() => undefined);
  await accepted;
  const write = async (bytes: Buffer) => {
    if (!upload.write(bytes)) await Promise.race([once(upload, "drain"), answer]);
  };
  await write(
    Buffer.from(
      `--${boundary}\r\ncontent-disposition: form-data; name="media"; filename="photo.jpg"\r\n` +
        "content-type: image/jpeg\r\n\r\n",
    ),
  );
  await write(picture);
  const padding = Buffer.alloc(64 * 1024);
  return {
    answer,
    async send(bytes) {
      for (let left = bytes; left > 0; left -= padding.length) await write(padding.subarray(0, left));
    },
    abort: () => void upload.destroy(),
    finish() {
      upload.end(`\r\n--${boundary}--\r\n`);
      return answer;
    },
  };
}

/** How many uploads lie in the staging folder; renditions that are being made, and probes, lie there too. */
export async function uploadsStaged(dataDir: string): Promise<number> {
  const names = await readdir(join(dataDir, "staging"));
  return names.filter((name) => !name.startsWith("render-") && !name.startsWith(".check-")).length;
}
