/**
 * `npm run measure:tickets [-- --pairs 500]`: what tickets cost. Serves feed pages of 20 posts (80 URLs of pictures and 20 of
 * avatars) in this process, on a throw-away Postgres, to a client in another: in turn to viewers whose authors are private and
 * to viewers whose authors are public, and compares the processor time of this process. Once as viewers come, some of them often, and once with the first page of each
 * in a window alone, for which its ticket is signed. It takes some four minutes.
 */
import { type ChildProcess, fork } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type pg from "pg";
import { pino } from "pino";
import { features } from "../plugins/index.ts";
import { describeMachine } from "../src/bench/report.ts";
import { loadConfig } from "../src/config/load.ts";
import { openDeps } from "../src/deps.ts";
import { buildApp } from "../src/http/app.ts";
import { startPostgresServer } from "../test/support/postgres-server.ts";
import type { Asked, Told } from "./tickets/protocol.ts";

const AUTHORS = 20;
/** Of each kind, who come by Zipf's law. */
const VIEWERS = 1_000;
/** Pairs that warm the compiler up. */
const WARMING = 5;
/** Of one kind, one after the other, before it is the other's turn. */
const PAGES = 5;
const GOAL = 1.03;
const KINDS = ["private", "public"] as const;
type Kind = (typeof KINDS)[number];

const say = (line: string) => process.stdout.write(`${line}\n`);
const { values } = parseArgs({ options: { pairs: { type: "string", default: "500" } } });
const pairs = Number(values.pairs);
if (!Number.isInteger(pairs) || pairs < 3) throw new Error("--pairs wants a number from 3 on");

/** With those who come once, and one for a look at the page. */
const ALL_VIEWERS = VIEWERS + (WARMING + pairs) * PAGES + 1;

const postgres = await startPostgresServer();
const dataDir = await mkdtemp(join(tmpdir(), "tintype-tickets-"));
try {
  const { config } = loadConfig({
    env: { TINTYPE_DATABASE_URL: postgres.url, TINTYPE_DATA_DIR: dataDir },
    features: { known: features.map(({ name }) => name), core: [] },
  });
  const log = pino({ level: "silent" });
  const deps = await openDeps({ config, log, role: "serve", features, allFeatures: features });
  try {
    await load(deps.context.pool);
    const app = await buildApp(deps.context, features);
    const address = await app.listen({ host: "127.0.0.1", port: 0 });
    const client = fork(join(import.meta.dirname, "tickets/client.ts"));
    const ask = (kind: Kind, viewers: readonly number[]) =>
      served(client, { url: `${address}/api/v1/feed`, tokens: viewers.map((viewer) => tokenOf(kind, viewer)) });
    try {
      for (const kind of KINDS) check(kind, await ask(kind, [ALL_VIEWERS]));
      const { cores, cpu, node } = describeMachine();
      say(`\nfeed pages of ${VIEWERS} viewers in ${pairs} pairs of ${PAGES} on ${cores} × ${cpu}, Node ${node}\n`);
      const drawn = new Set<number>();
      const some = () => Array.from({ length: PAGES }, () => Math.floor(VIEWERS ** Math.random()));
      report(
        "tickets_vs_none",
        await measure(ask, () => {
          const viewers = some();
          for (const viewer of viewers) drawn.add(viewer);
          return viewers;
        }),
      );
      say(
        `    ${percent(drawn.size / ((WARMING + pairs) * PAGES))} of the pages were the first of a viewer in a window`,
      );
      let next = VIEWERS;
      report("first_page_vs_none", await measure(ask, () => Array.from({ length: PAGES }, () => ++next)));
    } finally {
      client.kill();
      await app.close();
    }
  } finally {
    await deps.close();
  }
} finally {
  await postgres.stop();
  await rm(dataDir, { recursive: true, force: true });
}

/** For each kind AUTHORS accounts with an avatar and a post each, and viewers who follow them all. */
async function load(pool: pg.Pool): Promise<void> {
  for (const kind of KINDS) {
    await pool.query(
      `INSERT INTO users (id, username, email, password_hash, display_name, is_private)
       SELECT uuidv7(), name, name || '@example.org', 'none', 'Somebody ' || name, $1 = 'private'
       FROM (SELECT concat($1::text, n) FROM generate_series(1, $2::int) AS n
             UNION ALL SELECT concat($1::text, '_viewer', n) FROM generate_series(1, $3::int) AS n) AS made (name)`,
      [kind, AUTHORS, ALL_VIEWERS],
    );
    await pool.query(
      `INSERT INTO sessions (id, user_id, token_hash, address)
       SELECT uuidv7(), users.id, decode(hash, 'hex'), ''
       FROM unnest($1::text[]) WITH ORDINALITY AS tokens (hash, n) JOIN users ON username = concat($2::text, '_viewer', n)`,
      [
        Array.from({ length: ALL_VIEWERS }, (_, n) =>
          createHash("sha256")
            .update(tokenOf(kind, n + 1))
            .digest("hex"),
        ),
        kind,
      ],
    );
    await pool.query(
      `WITH authors AS (
         SELECT id FROM users WHERE username ~ concat('^', $1::text, '[0-9]+$')
       ), made AS (
         SELECT id AS author_id, uuidv7() AS post_id, uuidv7() AS medium_id, uuidv7() AS avatar_id FROM authors
       ), pictures AS (
         INSERT INTO media (id, owner_id, purpose, state, content_type, bytes, sha256, width, height, thumbhash)
         SELECT id, author_id, purpose, 'ready', 'image/jpeg', 1, '', 4000, 3000, 'XxcODQI0d3iAh3hweId3aHh4eAAAAAAA'
         FROM made, LATERAL (VALUES (medium_id, 'post'), (avatar_id, 'avatar')) AS medium (id, purpose)
       ), published AS (
         INSERT INTO posts (id, user_id, caption, status, published_at)
         SELECT post_id, author_id, repeat('A caption of usual length. ', 3), 'published', now() FROM made
       ), shown AS (
         INSERT INTO post_media (post_id, position, medium_id) SELECT post_id, 0, medium_id FROM made
       ), followed AS (
         INSERT INTO follows (follower_id, following_id)
         SELECT viewer.id, author_id FROM made, users AS viewer WHERE viewer.username ^@ concat($1::text, '_viewer')
       )
       UPDATE users SET avatar_id = made.avatar_id FROM made WHERE users.id = made.author_id`,
      [kind],
    );
  }
  await pool.query("ANALYZE");
}

/** A viewer is a number, from 1 to ALL_VIEWERS. */
type Ask = (kind: Kind, viewers: readonly number[]) => Promise<string>;

/** @returns the body of the last page. */
async function served(client: ChildProcess, asked: Asked): Promise<string> {
  const answer = once(client, "message") as Promise<[Told]>;
  client.send(asked);
  const [{ status, body }] = await answer;
  if (status !== 200) throw new Error(`the feed: ${status} ${body}`);
  return body;
}

function check(kind: Kind, body: string): void {
  const [urls, tickets] = [/\/media\//g, /\.webp\?t=/g].map((pattern) => body.match(pattern)?.length ?? 0);
  say(`${kind} authors: ${body.length} bytes, ${urls} URLs, ${tickets} with a ticket`);
  if (urls !== 5 * AUTHORS || tickets !== (kind === "private" ? urls : 0))
    throw new Error("that is not the page meant");
}

/** Microseconds of processor time a page, by kind, a pair of figures each time. @param draw who comes. */
async function measure(ask: Ask, draw: () => number[]): Promise<Record<Kind, number>[]> {
  const cost = async (kind: Kind, viewers: readonly number[]) => {
    const before = process.cpuUsage();
    await ask(kind, viewers);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / PAGES;
  };
  const measured: Record<Kind, number>[] = [];
  for (let pair = -WARMING; pair < pairs; pair++) {
    // Whichever comes second pays for what the first has left to collect.
    const [first, second] = pair % 2 === 0 ? KINDS : ([KINDS[1], KINDS[0]] as const);
    const viewers = draw();
    const figures = { [first]: await cost(first, viewers), [second]: await cost(second, viewers) } as Record<
      Kind,
      number
    >;
    // Those before 0 warm the compiler up.
    if (pair >= 0) measured.push(figures);
  }
  return measured;
}

function report(name: string, measured: readonly Record<Kind, number>[]): void {
  const ratios = measured.map((pair) => pair.private / pair.public);
  const ratio = quantile(ratios, 0.5);
  say(`  ${name.padEnd(32)} ${ratio.toFixed(3)}  goal ${GOAL}  ${ratio <= GOAL ? "holds" : "DOES NOT HOLD"}`);
  for (const kind of KINDS) {
    const median = quantile(
      measured.map((pair) => pair[kind]),
      0.5,
    );
    say(`    ${Math.round(median)} µs of processor time a page of ${kind} authors`);
  }
  say(`    half of the pairs between ${quantile(ratios, 0.25).toFixed(3)} and ${quantile(ratios, 0.75).toFixed(3)}`);
}

function percent(part: number): string {
  return `${Math.round(100 * part)} %`;
}

function quantile(values: readonly number[], part: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(part * (values.length - 1))] ?? Number.NaN;
}

function tokenOf(kind: Kind, viewer: number): string {
  return `tt_${kind}${viewer}`;
}
