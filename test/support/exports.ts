import { execFile } from "node:child_process";
import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { promisify } from "node:util";
import pg from "pg";
import { fromBufferPromise } from "yauzl";
import type { Client, Json } from "./client.ts";
import { waitFor } from "./server.ts";
import { type Service, startService } from "./service.ts";

/** A service, and a look into its database. */
export interface Place extends Service {
  sql: pg.Pool;
}

export async function place(
  t: { teardown(end: () => unknown): void },
  settings: Record<string, string> = {},
): Promise<Place> {
  const service = await startService(t, settings);
  const sql = new pg.Pool({ connectionString: service.databaseUrl, max: 2 });
  t.teardown(() => sql.end());
  return { ...service, sql };
}

/** Begins an export, which must not be there yet. */
export async function ask(person: Client): Promise<void> {
  const { status, body } = await person.request("POST", "/me/export");
  if (status !== 202 || body.status !== "processing") throw new Error(`export: ${status} ${JSON.stringify(body)}`);
}

/** Waits until nothing is being made. @returns GET /me/export. */
export function settled(person: Client): Promise<Json> {
  return waitFor(async () => {
    const { body } = await person.request("GET", "/me/export");
    return body.status !== "processing" && body;
  }, "the export to be made");
}

/** The files of an archive, by an independent reader, which checks each one's CRC. */
export async function unzip(bytes: Buffer): Promise<Map<string, Buffer>> {
  const zip = await fromBufferPromise(bytes);
  const files = new Map<string, Buffer>();
  for await (const entry of zip.eachEntry()) {
    files.set(entry.fileName, await buffer(await zip.openReadStreamPromise(entry)));
  }
  return files;
}

export async function fetchFiles(url: string): Promise<Map<string, Buffer>> {
  const answer = await fetch(url);
  if (answer.status !== 200) throw new Error(`${url}: ${answer.status}`);
  return unzip(Buffer.from(await answer.arrayBuffer()));
}

export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

/** Withdraws the one of the last hour, which would be given again, and begins an export. */
export async function askAnew(person: Client): Promise<void> {
  const { status } = await person.request("DELETE", "/me/export");
  if (status !== 204) throw new Error(`withdraw: ${status}`);
  await ask(person);
}

/** Enqueues the sweep, as its schedule would, until it has done what is waited for. */
export async function swept({ sql }: Place, done: () => Promise<boolean>): Promise<void> {
  await waitFor(async () => {
    await sql.query("INSERT INTO pgboss.job (name, data) VALUES ('exports.sweep', '{}')");
    return done();
  }, "the sweep");
}

/** @returns the path of the original of a post's first picture. */
export async function originalOf({ dataDir, sql }: Place, postId: string): Promise<string> {
  const { rows } = await sql.query("SELECT medium_id FROM post_media WHERE post_id = $1 AND position = 0", [postId]);
  const id: string = rows[0].medium_id;
  return join(dataDir, "media", "originals", id.slice(-2), id);
}

/** Puts a pipe where an original was: whoever reads it waits for what is written. @returns the way back. */
export async function pipeInPlaceOf(path: string): Promise<{ restore(): Promise<void> }> {
  await rename(path, `${path}-kept`);
  await promisify(execFile)("mkfifo", [path]);
  return {
    restore: async () => {
      await rm(path);
      await rename(`${path}-kept`, path);
    },
  };
}
