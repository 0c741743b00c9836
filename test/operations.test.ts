import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import t, { type Test } from "tap";
import { parse } from "yaml";
import { exactly } from "./support/exactly.ts";
import { EXECUTABLE, run, temporaryFolder } from "./support/server.ts";

const DOCUMENT = await readFile(new URL("../docs/operations.md", import.meta.url), "utf8");
const section = DOCUMENT.split(/^## /m).find((part) => part.startsWith("Stories that are over")) ?? "";

const NOWHERE = "postgres://nobody@127.0.0.1:1/none";

/** What stands in fences of a language, in its order. */
function blocks(language: string): string[] {
  return [...section.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map(
    (match) => match[1] ?? "",
  );
}

/** Runs words of a command line up to the point where it finds no database: its flags were understood. */
async function understood(t: Test, words: readonly string[]): Promise<void> {
  const env = { TINTYPE_DATA_DIR: await temporaryFolder(t), TINTYPE_DATABASE_URL: NOWHERE };
  t.equal((await run(words, env)).code, 4, words.join(" "));
}

const wordsAfter = (text: string) => /bin\/tintype\.js (stories cleanup(?: --\S+)*)/.exec(text)?.[1]?.split(" ") ?? [];

t.test("the line of the crontab", async (t) => {
  const [line = ""] = blocks("cron");
  const [, command = ""] = /^\*\/20(?: \*){4} +(.*)$/m.exec(line) ?? [];
  const folder = await temporaryFolder(t);
  const settings = join(folder, "tintype.env");
  await writeFile(settings, `TINTYPE_DATA_DIR='${folder}'\nTINTYPE_DATABASE_URL='${NOWHERE}'\n`);
  const here = command
    .replace("/etc/tintype.env", settings)
    .replace("cd /opt/tintype", `cd ${folder}`)
    .replace("node_modules/.bin/node bin/tintype.js", `${process.execPath} ${EXECUTABLE}`);
  // It exits with 4 only with the database of the file.
  await t.rejects(promisify(execFile)("/bin/sh", ["-c", here], { env: {} }), { code: 4, stdout: /^$/ });
});

t.test("the units of systemd", async (t) => {
  const units = blocks("ini");
  const [service = ""] = units;
  for (const line of ["EnvironmentFile=/etc/tintype.env", "User=tintype", "WorkingDirectory=/opt/tintype"]) {
    t.equal(DOCUMENT.split(`\n${line}\n`).length, 3, `${line} is also in the unit of serve`);
  }
  t.match(service, /^After=.*\btintype\.service$/m);
  t.match(service, /^KillMode=process$/m, "Postgres, if it started that, goes on");
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
  t.match(pod, {
    restartPolicy: "Never",
    containers: exactly({ envFrom: exactly({ secretRef: { name: "tintype" } }) }),
  });
  const [node, program, ...words] = pod.containers[0].command;
  t.same([node, program], ["/opt/tintype/node_modules/.bin/node", "/opt/tintype/bin/tintype.js"]);
  await understood(t, words);
});
