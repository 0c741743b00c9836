import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import t, { type Test } from "tap";
import { parse } from "yaml";
import { EXECUTABLE, run, temporaryFolder } from "./support/server.ts";

const DOCUMENT = await readFile(new URL("../docs/operations.md", import.meta.url), "utf8");
const section = DOCUMENT.split(/^## /m).find((part) => part.startsWith("Stories that are over")) ?? "";

/** What stands in fences of a language, in its order. */
function blocks(language: string): string[] {
  return [...section.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map(
    (match) => match[1] ?? "",
  );
}

/** Runs words of a command line up to the point where it finds no database: its flags were understood. */
async function understood(t: Test, words: readonly string[]): Promise<void> {
  const env = {
    TINTYPE_DATA_DIR: await temporaryFolder(t),
    TINTYPE_DATABASE_URL: "postgres://nobody@127.0.0.1:1/none",
  };
  t.equal((await run(words, env)).code, 4, words.join(" "));
}

const wordsAfter = (text: string) => /bin\/tintype\.js (stories cleanup(?: --\S+)*)/.exec(text)?.[1]?.split(" ") ?? [];

t.test("the line of the crontab", async (t) => {
  const [line = ""] = blocks("cron");
  t.match(line, /^\*\/20( \*){4} +cd \/opt\/tintype && /);
  await understood(t, wordsAfter(line));
});

t.test("the units of systemd", async (t) => {
  const units = blocks("ini");
  const folder = await temporaryFolder(t);
  const files: string[] = [];
  for (const unit of units) {
    const name = /^# \/etc\/systemd\/system\/(\S+)\n/.exec(unit)?.[1] ?? "";
    const file = join(folder, name);
    // The program lies elsewhere here, and this machine has no such user.
    const here = unit
      .replace("/opt/tintype/node_modules/.bin/node /opt/tintype/bin/tintype.js", `${process.execPath} ${EXECUTABLE}`)
      .replace("WorkingDirectory=/opt/tintype", `WorkingDirectory=${folder}`);
    await writeFile(file, here);
    files.push(file);
  }
  t.same(
    files.map((file) => file.slice(folder.length + 1)),
    ["tintype-stories.service", "tintype-stories.timer"],
  );
  await understood(t, wordsAfter(units.join("")));
  const verify = promisify(execFile)("systemd-analyze", ["verify", ...files]);
  const found = await verify.catch((error: NodeJS.ErrnoException & { stderr?: string }) => error);
  if ("code" in found && found.code === "ENOENT") return t.pass("no systemd here", { skip: true });
  const complaints = (found.stderr ?? "").split("\n").filter((line) => line.includes("tintype-stories"));
  t.same(complaints, []);
});

t.test("the manifest of Kubernetes", async (t) => {
  const manifest = parse(blocks("yaml").join(""));
  t.match(manifest, { apiVersion: "batch/v1", kind: "CronJob", spec: { schedule: "*/20 * * * *" } });
  const pod = manifest.spec.jobTemplate.spec.template.spec;
  t.match(pod, { restartPolicy: "Never", containers: [{ envFrom: [{ secretRef: { name: "tintype" } }] }] });
  const [node, program, ...words] = pod.containers[0].command;
  t.same([node, program], ["/opt/tintype/node_modules/.bin/node", "/opt/tintype/bin/tintype.js"]);
  await understood(t, words);
});
