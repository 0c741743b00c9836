/**
 * `npm run measure:hidden [-- --rounds 1000]`: asks, as a stranger, for what a private account hides and for what is not
 * there, in turn, and compares how long the same 404 takes. A ratio of medians far from 1 would tell one from the other.
 * Takes about a minute.
 */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { picture } from "../test/support/pictures.ts";
import { startPostgresServer } from "../test/support/postgres-server.ts";
import { startServer } from "../test/support/server.ts";
import { publish } from "../test/support/service.ts";

const say = (line: string) => process.stdout.write(`${line}\n`);
const { values } = parseArgs({ options: { rounds: { type: "string", default: "1000" } } });
const rounds = Number(values.rounds);
if (!Number.isInteger(rounds) || rounds < 10) throw new Error("--rounds wants a number from 10 on");

function quantile(sorted: readonly number[], part: number): number {
  return sorted[Math.floor(part * (sorted.length - 1))] ?? Number.NaN;
}

const postgres = await startPostgresServer();
const dataDir = await mkdtemp(join(tmpdir(), "tintype-hidden-"));
const server = await startServer({
  TINTYPE_DATABASE_URL: postgres.url,
  TINTYPE_DATA_DIR: dataDir,
  TINTYPE_WORKER_EMBEDDED: "true",
});
try {
  const owner = await server.client.register("owner");
  await owner.request("PATCH", "/me", { json: { is_private: true } });
  const post = await publish(owner, [await picture({ width: 40, height: 30 })]);
  const stranger = await server.client.register("stranger");

  const time = async (path: string) => {
    const started = performance.now();
    const { status } = await stranger.request("GET", path);
    if (status !== 404) throw new Error(`${path}: ${status}`);
    return performance.now() - started;
  };
  say("ratio: median time of what is hidden / of what is not there\n");
  for (const [hidden, missing] of [
    ["/users/owner/posts", "/users/nobody/posts"],
    ["/users/owner/followers", "/users/nobody/followers"],
    [`/posts/${post.id}`, `/posts/${randomUUID()}`],
    [`/media/${post.media[0].id}/large.webp`, `/media/${randomUUID()}/large.webp`],
  ] as const) {
    const [there, gone]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      // Whichever comes second may find what the first has warmed.
      const hiddenFirst = round % 2 === 0;
      if (hiddenFirst) there.push(await time(hidden));
      gone.push(await time(missing));
      if (!hiddenFirst) there.push(await time(hidden));
    }
    there.sort((a, b) => a - b);
    gone.sort((a, b) => a - b);
    const ratio = quantile(there, 0.5) / quantile(gone, 0.5);
    // How far apart two requests of one kind are: half of them differ by more.
    const noise = (quantile(gone, 0.75) - quantile(gone, 0.25)) / quantile(gone, 0.5);
    const name = hidden.replace(/[0-9a-f-]{36}/, ":id").replace("owner", ":username");
    say(`${name.padEnd(32)} ${ratio.toFixed(3)}  (spread of one kind: ±${((noise / 2) * 100).toFixed(0)} %)`);
  }
} finally {
  await server.stop();
  await postgres.stop();
  await rm(dataDir, { recursive: true, force: true });
}
