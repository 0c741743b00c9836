import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import t from "tap";
import { temporaryFolder } from "../test/support/server.ts";
import { testFiles } from "./test-files.ts";

t.test("faults are left out unless they are named, or all is asked for", async (t) => {
  const root = await temporaryFolder(t);
  const files = ["plugins/feed/feed.test.ts", "test/acceptance/feed.test.ts", "test/faults/s3.test.ts"];
  for (const file of [...files, "test/faults/load.ts"]) {
    await mkdir(dirname(join(root, file)), { recursive: true });
    await writeFile(join(root, file), "");
  }
  const found = async (named: string[], full: boolean) => (await testFiles(root, named, full)).sort();
  t.same(await found([], false), files.slice(0, 2));
  t.same(await found([], true), files);
  t.same(await found(["test/faults"], false), ["test/faults/s3.test.ts"]);
  t.same(await found(["test/faults/s3.test.ts", "plugins"], false), ["plugins/feed/feed.test.ts", files[2]]);
});
