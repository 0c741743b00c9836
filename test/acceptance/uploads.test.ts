import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { request as httpRequest, type RequestOptions } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import t, { type Test } from "tap";
import { type Answer, type Json, postForm } from "../support/client.ts";
import { exactly } from "../support/exactly.ts";
import { bomb, pdf, picture, svg } from "../support/pictures.ts";
import { waitFor } from "../support/server.ts";
import { publish, startService } from "../support/service.ts";
import { openUpload, uploadsStaged } from "../support/upload.ts";

const KB = 1024;
const MAX_PHOTO = 256 * KB;

const { client, dataDir, server } = await startService(t, {
  TINTYPE_MEDIA_MAX_PHOTO: "256kb",
  TINTYPE_MEDIA_UPLOADS: "8",
  TINTYPE_MEDIA_UPLOADS_PER_ACCOUNT: "4",
});
const alice = await client.register("alice");
const good = await picture({ width: 64, height: 64 });

/** Whatever was refused has left nothing: no file, no post. */
async function leftNothing(t: Test): Promise<void> {
  // Of a connection that was cut, the server hears a moment later.
  await waitFor(async () => (await filesBelow("staging")).length === 0, "nothing to stay staged");
  t.same(await filesBelow("media/originals"), [], "nothing was stored");
  t.match((await alice.request("GET", "/users/alice/posts")).body, { items: exactly() }, "there is no post");
}

t.test("files that are refused at once, alone and behind a good one", async (t) => {
  const padding = Buffer.alloc(100 * KB, "x");
  const foreign: [what: string, file: Buffer, status: number, code: string][] = [
    ["an SVG", svg(), 415, "UNSUPPORTED_FORMAT"],
    ["a PDF", pdf(), 415, "UNSUPPORTED_FORMAT"],
    ["a TIFF", await picture({ format: "tiff", width: 64, height: 64 }), 415, "UNSUPPORTED_FORMAT"],
    ["HTML", Buffer.from("<!DOCTYPE html><script>alert(1)</script>"), 415, "UNSUPPORTED_FORMAT"],
    ["a long HTML", Buffer.concat([Buffer.from("<html>"), padding]), 415, "UNSUPPORTED_FORMAT"],
    ["a ZIP", Buffer.concat([Buffer.from("PK\x03\x04"), padding]), 415, "UNSUPPORTED_FORMAT"],
    ["text", Buffer.from("hello"), 415, "UNSUPPORTED_FORMAT"],
    ["one byte", Buffer.from([0xff]), 415, "UNSUPPORTED_FORMAT"],
    ["an SVG behind the first bytes of a GIF", Buffer.concat([Buffer.from("GIF8"), svg()]), 415, "UNSUPPORTED_FORMAT"],
    ["nothing", Buffer.alloc(0), 422, "EMPTY_FILE"],
    ["a bomb of 900 megapixels", bomb(), 422, "TOO_MANY_PIXELS"],
    ["a picture just over 50 megapixels", bomb(10_001, 5_000), 422, "TOO_MANY_PIXELS"],
    ["a picture one byte too large", padded(good, MAX_PHOTO + 1), 413, "FILE_TOO_LARGE"],
    ["a much too large picture", padded(good, 8 * MAX_PHOTO), 413, "FILE_TOO_LARGE"],
  ];
  for (const [what, file, status, code] of foreign) {
    for (const files of [[file], [good, file, good]]) {
      const answer = await alice.request("POST", "/posts", { form: postForm(files) });
      refused(t, answer, status, code, `${what}, ${files.length === 1 ? "alone" : "behind a good one"}`);
      t.match(answer.body.error.message, files.length === 1 ? /^picture-0 / : /^picture-1 /, answer.body.error.message);
    }
  }
  await leftNothing(t);
});

t.test("what a message calls the file cannot be used against whoever reads it", async (t) => {
  const form = new FormData();
  form.append("media", new Blob(["hello"]), `../../etc/\u202e<b>${"x".repeat(300)}.png`);
  const { body } = await alice.request("POST", "/posts", { form });
  t.notMatch(body.error.message, /\.\.|etc|\u202e|x{100}/);
});

t.test("no picture, and one too many", async (t) => {
  refused(t, await alice.request("POST", "/posts", { form: postForm([]) }), 422, "MEDIA_MISSING", "an empty form");
  refused(t, await alice.request("POST", "/posts", { form: postForm([], "only words") }), 422, "MEDIA_MISSING");
  const eleven = Array.from({ length: 11 }, () => good);
  refused(t, await alice.request("POST", "/posts", { form: postForm(eleven) }), 422, "TOO_MANY_MEDIA");
  await leftNothing(t);
});

t.test("forms that are wrong", async (t) => {
  const photo = { name: "media", filename: "a.jpg", value: good };
  const forms: [what: string, parts: Part[], status: number, code: string][] = [
    ["the picture in another field", [{ ...photo, name: "file" }], 400, "INVALID_REQUEST"],
    ["the picture without a file name", [{ name: "media", value: good }], 400, "INVALID_REQUEST"],
    ["a field without a name", [photo, { value: Buffer.from("x") }], 400, "INVALID_REQUEST"],
    ["an unknown field", [photo, { name: "title", value: "x" }], 400, "INVALID_REQUEST"],
    ["__proto__", [photo, { name: "__proto__", value: "x" }], 400, "INVALID_REQUEST"],
    ["constructor", [photo, { name: "constructor", value: "x" }], 400, "INVALID_REQUEST"],
    ["the caption as a file", [photo, { ...photo, name: "caption" }], 400, "INVALID_REQUEST"],
    ["two captions", [photo, ...["one", "two"].map((value) => ({ name: "caption", value }))], 400, "INVALID_REQUEST"],
    ["eleven alt texts", [photo, ...repeat(11, { name: "alt_text", value: "x" })], 400, "INVALID_REQUEST"],
    ["a thousand fields", [photo, ...repeat(1000, { name: "alt_text", value: "x" })], 400, "INVALID_REQUEST"],
    ["a caption too long", [{ name: "caption", value: "x".repeat(2201) }, photo], 422, "INVALID_VALUE"],
    ["a caption far too long", [{ name: "caption", value: "x".repeat(100 * KB) }, photo], 422, "INVALID_VALUE"],
    ["NUL in the caption", [{ name: "caption", value: "a\0b" }, photo], 422, "INVALID_VALUE"],
    ["NUL in an alt text", [photo, { name: "alt_text", value: "\0" }], 422, "INVALID_VALUE"],
  ];
  for (const [what, parts, status, code] of forms) refused(t, await send(multipart(parts)), status, code, what);
  await leftNothing(t);
});

t.test("bodies that are no form", async (t) => {
  const body = multipart([{ name: "media", filename: "a.jpg", value: good }]);
  const types: [type: string | undefined, status: number, code: string][] = [
    ["application/json", 400, "INVALID_JSON"],
    ["image/jpeg", 415, "UNSUPPORTED_MEDIA_TYPE"],
    ["application/x-www-form-urlencoded", 415, "UNSUPPORTED_MEDIA_TYPE"],
    ["multipart/mixed; boundary=XX", 415, "UNSUPPORTED_MEDIA_TYPE"],
    ["multipart/form-data", 400, "INVALID_REQUEST"],
    ["multipart/form-data; boundary=another", 400, "UPLOAD_INCOMPLETE"],
    [undefined, 415, "UNSUPPORTED_MEDIA_TYPE"],
  ];
  for (const [type, status, code] of types) {
    refused(t, await send(body, type === undefined ? {} : { "content-type": type }), status, code, String(type));
  }
  refused(t, await send(body, { "content-type": FORM, authorization: "Bearer nobody" }), 401, "UNAUTHENTICATED");
  for (const end of [40, 200, body.length - 4, body.length - good.length / 2]) {
    refused(t, await send(body.subarray(0, end)), 400, "UPLOAD_INCOMPLETE", `a form that ends after ${end} bytes`);
  }
  await leftNothing(t);
});

t.test("uploads larger than any that could be accepted", async (t) => {
  const tooLarge = Buffer.alloc(12 * MAX_PHOTO + 1024 * KB);
  refused(t, await send(tooLarge), 413, "UPLOAD_TOO_LARGE", "one that says so is refused before it is read");

  const endless = upload({ "transfer-encoding": "chunked" });
  const cutOff = new AbortController();
  endless.once("error", () => cutOff.abort());
  endless.write(head({ name: "media", filename: "a.jpg" }));
  let sent = 0;
  while (!cutOff.signal.aborted && sent < 20 * tooLarge.length) {
    sent += 64 * KB;
    const full = !endless.write(Buffer.alloc(64 * KB));
    if (full) await once(endless, "drain", { signal: cutOff.signal }).catch(() => undefined);
  }
  t.ok(cutOff.signal.aborted, `one that does not is cut off, after ${sent} bytes`);
  await leftNothing(t);
});

t.test("a client that goes away in mid-upload", async (t) => {
  const body = multipart([{ name: "media", filename: "a.jpg", value: padded(good, 200 * KB) }]);
  const connection = upload({ "content-length": body.length });
  connection.on("error", () => undefined);
  connection.write(body.subarray(0, body.length - 2000));
  await waitFor(async () => (await filesBelow("staging")).length === 1, "the file to be staged");
  connection.destroy();
  await leftNothing(t);
});

t.test("what is at the limits is taken, and a good post after all that is published", async (t) => {
  const caption = "🌅".repeat(2200);
  const largest = await publish(alice, [padded(good, MAX_PHOTO)], { caption, altTexts: ["ä".repeat(1000)] });
  t.match(largest, { caption, media: exactly({ alt_text: "ä".repeat(1000), width: 64 }) });
  const many = await publish(alice, [bomb(10_000, 5_000)], { caption: "" });
  t.match(many, { caption: null, media: exactly({ width: 10_000, height: 5_000 }) }, "50 megapixels exactly");
  const twice = await publish(alice, [good, good]);
  t.not(twice.media[0].id, twice.media[1].id, "the same picture twice is two media");
  t.equal((await filesBelow("media/originals")).length, 4);
  t.same(await filesBelow("staging"), [], "what was taken does not stay staged either");
});

t.test(
  "uploads at once: as many of an account and in all as are set, and a place is free again when one ends",
  async (t) => {
    const busy = async (token: string) => {
      const { status, headers, body } = await client.as(token).request("POST", "/posts", { form: postForm([good]) });
      t.match({ status, body }, { status: 503, body: { error: { code: "UPLOADS_BUSY" } } });
      t.ok(Number(headers.get("retry-after")) > 0, "it says when to ask again");
    };
    const begin = async (token: string, staged: number) => {
      const uploads = await Promise.all(Array.from({ length: 4 }, () => openUpload(server.url, token, good)));
      await waitFor(async () => (await uploadsStaged(dataDir)) === staged, "the uploads to be under way");
      return uploads;
    };
    const uploads = await begin(alice.token, 4);
    await busy(alice.token);
    t.equal((await uploads[0]?.finish())?.status, 202);
    uploads[0] = await openUpload(server.url, alice.token, good);
    for (let index = 1; index < 2; index++) {
      const { token } = await client.register(`crowd${index}`);
      uploads.push(...(await begin(token, 4 * (index + 1))));
    }
    const late = await client.register("late");
    await busy(late.token);
    for (const upload of uploads) t.equal((await upload.finish()).status, 202);
    await late.post([good]);
  },
);

interface Part {
  name?: string;
  filename?: string;
  value?: Buffer | string;
}

const FORM = "multipart/form-data; boundary=XX";

function head({ name, filename }: Part): string {
  const named = `${name === undefined ? "" : `; name="${name}"`}${filename === undefined ? "" : `; filename="${filename}"`}`;
  return `--XX\r\nContent-Disposition: form-data${named}\r\n\r\n`;
}

/** The form as bytes, so that it can be wrong. */
function multipart(parts: readonly Part[]): Buffer {
  const bytes = parts.flatMap((part) => [head(part), part.value ?? "", "\r\n"]);
  return Buffer.concat([...bytes, "--XX--\r\n"].map((piece) => Buffer.from(piece as string)));
}

function repeat(times: number, part: Part): Part[] {
  return Array.from({ length: times }, () => part);
}

/** A sound JPEG of that many bytes: decoders do not mind what follows its end. */
function padded(jpeg: Buffer, bytes: number): Buffer {
  return Buffer.concat([jpeg, Buffer.alloc(bytes - jpeg.length)]);
}

/** A POST /posts whose body is for the caller to write. */
function upload(headers: NonNullable<RequestOptions["headers"]>) {
  return httpRequest(`${server.url}/api/v1/posts`, {
    method: "POST",
    headers: { "content-type": FORM, authorization: `Bearer ${alice.token}`, ...headers },
  });
}

async function send(body: Buffer, headers: Record<string, string> = { "content-type": FORM }): Promise<Answer> {
  const request = httpRequest(`${server.url}/api/v1/posts`, {
    method: "POST",
    headers: { authorization: `Bearer ${alice.token}`, "content-length": body.length, ...headers },
  });
  request.end(body);
  const [response] = await once(request, "response");
  const bytes = Buffer.from(await text(response));
  return { status: response.statusCode, headers: new Headers(), bytes, body: JSON.parse(bytes.toString()) as Json };
}

function refused(t: Test, { status, body }: Answer, wanted: number, code: string, what = code): void {
  t.match({ status, body }, { status: wanted, body: { error: { code, request_id: String } } }, what);
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(join(dataDir, folder), { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name)
    .sort();
}
