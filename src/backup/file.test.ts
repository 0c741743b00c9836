import { readdir, readFile, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import t from "tap";
import { readMigrations } from "../db/migrator.ts";
import { FORMAT, FORMAT_VERSION, MANIFEST, type Manifest, SUMMARY, type Summary } from "./format.ts";
import { lineOf, writeObjects } from "./media.ts";
import { openBackup } from "./reader.ts";
import { parseTarHeader, tarHeader } from "./tar.ts";
import { assertSchemaKnown } from "./target.ts";
import { createBackupFile } from "./writer.ts";

const { signal } = new AbortController();

const manifest: Manifest = {
  format: FORMAT,
  format_version: FORMAT_VERSION,
  id: "0198f0a4-0000-7000-8000-000000000000",
  created_at: "2027-01-31T00:00:00.000Z",
  application: "0.2.0",
  postgres: "18.4",
  pgboss: 1,
  migrations: [],
  tables: [{ name: "users", columns: ["id"] }],
  jobs: { columns: [] },
  sequences: [],
};
const summary: Summary = { tables: { users: 1 }, jobs: 0, objects: 1, missing: [], damaged: [], unreadable: [] };

const CONTENT = {
  [MANIFEST]: JSON.stringify(manifest),
  "tables/users/000001.copy": "1\n",
  "media/originals/00/a": "x".repeat(700),
  [SUMMARY]: JSON.stringify(summary),
};

async function write(file: string, content: Record<string, string>, force = false): Promise<Buffer> {
  const writer = await createBackupFile(file, { force, signal });
  for (const [name, text] of Object.entries(content)) await writer.add(name, text.length, [Buffer.from(text)]);
  await writer.finish();
  return readFile(file);
}

t.test("what is written is read", async (t) => {
  const file = join(t.testdir(), "a.tar");
  await write(file, CONTENT);
  const backup = await openBackup(file, { signal });
  t.teardown(backup.close);
  t.strictSame([backup.manifest, backup.summary, backup.size], [manifest, summary, (await stat(file)).size]);
  const entries: Record<string, string> = {};
  for await (const { name, content } of backup.entries()) entries[name] = (await buffer(content())).toString();
  t.strictSame(entries, CONTENT);
  await t.rejects(createBackupFile(file, { force: false, signal }), /is there already/);
});

t.test("only a file is replaced", async (t) => {
  const folder = t.testdir({ there: "", folder: {} });
  const link = join(folder, "link");
  await symlink(join(folder, "there"), link);
  for (const [file, why] of [
    ["/dev/null", /not a regular file/],
    [link, /not a regular file/],
    [join(folder, "folder"), /is a folder/],
  ] as const) {
    await t.rejects(createBackupFile(file, { force: true, signal }), { name: "OperationError", message: why });
  }
  t.ok((await stat("/dev/null")).isCharacterDevice());
  t.strictSame(await readdir(folder), ["folder", "link", "there"]);
});

t.test("what a killed one left to the same name goes; what may be in use, or is another's, stays", async (t) => {
  const old = ["a.tar.0a1b2c3d.part", "a.tar.part", "a.tar.old.part", "b.tar.0a1b2c3d.part", "xa.tar.0a1b2c3d.part"];
  const young = ["a.tar.00000000.part"];
  const folder = t.testdir(Object.fromEntries([...old, ...young].map((name) => [name, ""])));
  for (const name of old) await utimes(join(folder, name), 0, 0);
  await write(join(folder, "a.tar"), CONTENT);
  t.strictSame(await readdir(folder), ["a.tar", ...old.slice(1), ...young].sort());
});

t.test("two may write to one name at once", async (t) => {
  const folder = t.testdir();
  const file = join(folder, "a.tar");
  const [one, other] = [
    await createBackupFile(file, { force: true, signal }),
    await createBackupFile(file, { force: true, signal }),
  ];
  await other.discard();
  await one.finish();
  t.strictSame(await readdir(folder), ["a.tar"]);
});

t.test("an object that has not as many bytes as it said spoils nothing", async (t) => {
  const file = join(t.testdir(), "a.tar");
  const writer = await createBackupFile(file, { force: false, signal });
  await writer.add(MANIFEST, CONTENT[MANIFEST].length, [Buffer.from(CONTENT[MANIFEST])]);
  const keys = ["media/shorter", "media/right", "media/longer"];
  const lines = Buffer.concat(keys.map((key) => lineOf({ key: key.slice(6), bytes: null, sha256: null })));
  const list = await writer.add("objects/000001.jsonl", lines.length, [lines]);
  const stored: Record<string, string[]> = { shorter: ["abc"], right: ["abc", "def"], longer: ["abc", "defg", "h"] };
  const read = async (key: string) => ({
    size: 6,
    body: Readable.from((stored[key] ?? []).map((chunk) => Buffer.from(chunk))),
  });
  const found = await writeObjects(writer, [list], { media: { read }, progress: () => undefined });
  const odd = ["shorter", "longer"];
  t.strictSame(found, { objects: 1, missing: [], damaged: odd, unreadable: odd });
  const end = JSON.stringify({ ...summary, ...found });
  await writer.add(SUMMARY, end.length, [Buffer.from(end)]);
  await writer.finish();
  const backup = await openBackup(file, { signal });
  t.teardown(backup.close);
  const contents: string[] = [];
  for await (const { name, content } of backup.entries()) {
    if (keys.includes(name)) contents.push((await buffer(content())).toString());
  }
  t.strictSame(contents, ["abc\0\0\0", "abcdef", "abc\0\0\0"]);
});

t.test("a byte that differs, wherever it is, and whatever is cut off, is found", async (t) => {
  const folder = t.testdir();
  const file = join(folder, "good.tar");
  const good = await write(file, CONTENT);
  const wrong = join(folder, "wrong.tar");
  const refused = async (bytes: Buffer, what: string) => {
    await writeFile(wrong, bytes);
    const backup = await openBackup(wrong, { signal }).catch((error: unknown) => error);
    if (!(backup instanceof Error) || backup.name !== "OperationError") t.fail(`${what}: ${backup}`);
  };
  // No block is so long: after a while, each place of a block has had its turn.
  for (let at = 0; at < good.length; at += 5) {
    const bytes = Buffer.from(good);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
    await refused(bytes, `byte ${at}`);
    await refused(good.subarray(0, at), `${at} bytes`);
  }
  await refused(Buffer.concat([good, good.subarray(-2048)]), "an end too many");
  t.ok(good.length > 5_000);
});

t.test("a backup of another format says what made it", async (t) => {
  const file = join(t.testdir(), "a.tar");
  const later = JSON.stringify({ ...manifest, format_version: 2, application: "9.0.0" });
  await write(file, { ...CONTENT, [MANIFEST]: later });
  await t.rejects(openBackup(file, { signal }), /format 2, made by tintype 9\.0\.0/);
});

t.test("a file that changes between its check and its use is noticed", async (t) => {
  const file = join(t.testdir(), "a.tar");
  const bytes = await write(file, CONTENT);
  const backup = await openBackup(file, { signal });
  t.teardown(backup.close);
  bytes[bytes.indexOf("xxx")] = 0x79;
  await writeFile(file, bytes);
  await t.rejects(Array.fromAsync(backup.entries()), /not as it was written/);
});

t.test("schemas: those that this program had, and no others", async (t) => {
  const known = await readMigrations();
  const migrations = known.map(({ version, name, checksum }) => ({ version, name, checksum }));
  const last = migrations.at(-1)?.version ?? 0;
  t.equal(await assertSchemaKnown({ ...manifest, migrations }), last);
  t.equal(await assertSchemaKnown({ ...manifest, migrations: migrations.slice(0, 3) }), 3);
  const later = { version: last + 1, name: "later", checksum: "x" };
  await t.rejects(assertSchemaKnown({ ...manifest, migrations: [...migrations, later] }), /by a newer tintype/);
  const [first, ...others] = migrations.map((migration) => ({ ...migration }));
  if (first) first.checksum = "edited";
  const edited = first ? [first, ...others] : [];
  await t.rejects(assertSchemaKnown({ ...manifest, migrations: edited }), /its migrations differ/);
  await t.rejects(assertSchemaKnown({ ...manifest, migrations: others }), /its migrations differ/);
});

t.test("tar headers hold sizes above 8 GB", async (t) => {
  for (const size of [0, 1, 0o77777777777, 0o77777777777 + 1, 2 ** 52]) {
    t.strictSame(parseTarHeader(tarHeader({ name: "media/a", size }, 0)), { name: "media/a", size });
  }
  t.throws(() => tarHeader({ name: "", size: 0 }, 0));
});
