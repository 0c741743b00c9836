import { execFile } from "node:child_process";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import sharp from "sharp";
import t from "tap";
import { exactly } from "../support/exactly.ts";
import { picture } from "../support/pictures.ts";
import { cleanEnvironment, EXECUTABLE, startServer, temporaryFolder } from "../support/server.ts";

const README = await readFile(new URL("../../README.md", import.meta.url), "utf8");

/** The shell blocks of a section, in their order. */
function shellBlocks(heading: string): string[] {
  const section = README.split(/^## /m).find((part) => part.startsWith(heading)) ?? "";
  return [...section.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map((match) => match[1] ?? "");
}

t.test("the two commands of the README are what newcomers are told", async (t) => {
  t.match(shellBlocks("Run it").join(), /npm ci && npx tintype serve/);
  t.match(shellBlocks("Test it").join(), /npm ci && npm test/);
});

t.test("the five-minute tour works as it is written", async (t) => {
  const folder = await temporaryFolder(t);
  // As root the embedded Postgres runs as another user, who must get through.
  await chmod(folder, 0o711);
  const env = { TINTYPE_DATA_DIR: join(folder, "tintype-data") };
  const server = await startServer(env);
  t.teardown(() => server.stop());
  await writeFile(join(folder, "photo.jpg"), await picture({ format: "jpeg", width: 1600, height: 1200 }));

  // The reader's server listens at the default port and `npx` finds the checkout; here both are the test's own.
  const script = shellBlocks("A five-minute tour")
    .join("\n")
    .replaceAll("http://127.0.0.1:3000", server.url)
    .replaceAll("npx tintype", `'${process.execPath}' '${EXECUTABLE}'`);
  const { stdout } = await promisify(execFile)("bash", ["-euo", "pipefail", "-c", script], {
    cwd: folder,
    env: cleanEnvironment(env),
  });

  t.match(stdout, /"status":"following"/);
  t.match(stdout, /"status":"processing"/);
  const feed = JSON.parse(await readFile(join(folder, "feed.json"), "utf8"));
  t.match(
    feed.items,
    exactly({
      author: { username: "ana" },
      caption: "Home again",
      media: exactly({ alt_text: "The harbour at dusk" }),
    }),
  );
  t.match(stdout, /"success":true,"idempotent":false,"like_count":1/);
  t.match(stdout, /"type":"comment","actors":\[\{[^}]*"username":"ben"/, "ana is told");
  t.match(await sharp(join(folder, "large.webp")).metadata(), { format: "webp", width: 1080, height: 810 });
  t.match(stdout, /^ana +active +ana@example\.org +1 +1 +0/m, "users list");
  t.match(stdout, /^media\.process/m, "jobs status");
  t.match(stdout, /^ok +postgres: embedded/m, "doctor");
});
