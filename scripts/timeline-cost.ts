/**
 * `npm run measure:timelines [-- --timelines 20000 --rounds 12 --json]`: what a timeline costs as a list, which is what the
 * product has, as a sorted set and as a string of entries, side by side in a Redis of its own, in turn: memory, appends,
 * pages, and entries that come late. A figure is the median of the rounds. Takes some two minutes and 2.5 GB.
 */
import { createHash } from "node:crypto";
import { parseArgs } from "node:util";
import { Redis } from "ioredis";
import { v4 as randomId } from "uuid";
import { CAPACITY } from "../plugins/feed/timeline-scripts.ts";
import { describeMachine } from "../src/bench/report.ts";
import type { Script } from "../src/redis/scripts.ts";
import { CATALOGUE } from "../test/support/services/catalogue.ts";
import { Instance } from "../test/support/services/instance.ts";
import type { Service } from "../test/support/services/service.ts";
import { CANDIDATES, type Candidate } from "./timelines/candidates.ts";

/** The last element of a timeline that is whole. */
const END = Buffer.alloc(24);

const { values } = parseArgs({
  options: {
    timelines: { type: "string", default: "20000" },
    rounds: { type: "string", default: "12" },
    json: { type: "boolean", default: false },
  },
});
const timelines = Number(values.timelines);
const rounds = Number(values.rounds);
if (!(Number.isInteger(timelines) && timelines >= 1_000)) throw new Error("--timelines wants a number from 1000 on");
if (!(Number.isInteger(rounds) && rounds >= 3)) throw new Error("--rounds wants a number from 3 on");

/** Timelines of one call that pushes, as in a fan-out. */
const CALL = 100;
/** Entries pushed to each timeline in a round. */
const PUSHES = 5;
const PAGE = 30;
/** Timelines that are read, and that an entry comes late to, in a round. */
const SOME = Math.min(10_000, timelines);
const LATE = Math.min(4_000, timelines);
/** Calls that are under way at once. */
const AT_ONCE = 200;
const TTL = 7 * 24 * 3_600;
const EPOCH = "1";
const VERSION = "v";
const BEGIN = Date.UTC(2026, 0, 1);

const MEASURES = {
  push: "appends",
  first: "first pages",
  middle: "pages from the middle",
  late: "late arrivals, in the middle",
  again: "appends of the newest once more",
} as const;
type Measure = keyof typeof MEASURES;

/** How many were done in a second, and in a second of Redis's own processor time. */
interface Speed {
  wall: number;
  processor: number;
}

/** What is known of a candidate. */
class Measured {
  readonly candidate: Candidate;
  /** Bytes a timeline: fresh, after the latest push, and at most. */
  fresh = 0;
  pushed = 0;
  most = 0;
  readonly speeds: Record<Measure, Speed[]> = { push: [], first: [], middle: [], late: [], again: [] };

  constructor(candidate: Candidate) {
    this.candidate = candidate;
  }

  median(measure: Measure, of: keyof Speed): number {
    return median(this.speeds[measure].map((speed) => speed[of]));
  }
}

const say = (line: string) => process.stderr.write(`${line}\n`);
const ids = Array.from({ length: timelines }, () => randomId());
const started_at = new Date().toISOString();

/** The tests' Redis, that keeps nothing on disk. */
const service: Service = {
  ...CATALOGUE.redis,
  async prepare(program, place) {
    const launch = await CATALOGUE.redis.prepare(program, place);
    return { ...launch, args: [...launch.args, "--appendonly", "no"] };
  },
};
const program = await service.find();
if (!program) throw new Error("Redis is not installed: npm run services -- install redis");
const instance = await Instance.start(service, program);
const redis = new Redis(service.url(instance.place));
try {
  const measured = CANDIDATES.map((candidate) => new Measured(candidate));
  for (const one of measured) {
    say(`loading ${timelines} timelines of ${CAPACITY} as ${one.candidate.name}`);
    one.fresh = await load(one.candidate);
    one.pushed = one.fresh;
  }
  say("pushing and reading in turn");
  for (let round = 0; round < rounds; round++) {
    for (const one of inTurn(measured, round)) await pushAndRead(one, round);
  }
  say("entries that come late");
  for (let round = 0; round < rounds; round++) {
    for (const one of inTurn(measured, round)) await comeLate(one, round);
  }
  await compare();
  await report(measured);
} finally {
  redis.disconnect();
  await instance.stop();
}

/** @returns bytes a timeline. The hash beside it is the same for all, and is not counted. */
async function load({ name, load }: Candidate): Promise<number> {
  const entries = [...Array.from({ length: CAPACITY }, (_, n) => entry(CAPACITY - n)), END];
  const inPortions = async (add: (pipeline: ReturnType<Redis["pipeline"]>, id: string) => void) => {
    for (let at = 0; at < timelines; at += CALL) {
      const pipeline = redis.pipeline();
      for (const id of ids.slice(at, at + CALL)) add(pipeline, id);
      for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
    }
  };
  await inPortions((pipeline, id) =>
    pipeline
      .hset(hashOf(name, id), { epoch: EPOCH, xmin: 1, version: VERSION, snapshot: "" })
      .expire(hashOf(name, id), TTL),
  );
  const before = await usedMemory();
  await inPortions((pipeline, id) => {
    load(pipeline, keyOf(name, id), entries);
    pipeline.expire(keyOf(name, id), TTL);
  });
  return ((await usedMemory()) - before) / timelines;
}

async function pushAndRead(one: Measured, round: number): Promise<void> {
  const { candidate, speeds } = one;
  const { name, push, read } = candidate;
  const calls = Array.from({ length: PUSHES }, (_, n) => {
    const pushed = entry(CAPACITY + 1 + round * PUSHES + n);
    return inCalls(ids).map((some) => () => run(push, keysOf(name, some), [pushed]));
  }).flat();
  const before = await usedMemory();
  speeds.push.push(await timed(calls, timelines * PUSHES));
  one.pushed += ((await usedMemory()) - before) / timelines;
  one.most = Math.max(one.most, one.pushed);
  const pages = (after: Buffer | "") =>
    ids
      .slice(0, SOME)
      .map((id) => () => run(read, [keyOf(name, id), hashOf(name, id)], [EPOCH, VERSION, after, PAGE, TTL]));
  speeds.first.push(await timed(pages(""), SOME));
  speeds.middle.push(await timed(pages(entry(CAPACITY / 2 + round * PUSHES)), SOME));
}

/** An entry that belongs in the middle, and one that is there, as when a job runs twice. */
async function comeLate({ candidate, speeds }: Measured, round: number): Promise<void> {
  const first = (round * LATE) % timelines;
  const some = inCalls([...ids, ...ids].slice(first, first + LATE));
  const calls = (pushed: Buffer) => some.map((ids) => () => run(candidate.push, keysOf(candidate.name, ids), [pushed]));
  speeds.late.push(await timed(calls(entry(CAPACITY / 2 + rounds * PUSHES + round, 500)), LATE));
  speeds.again.push(await timed(calls(entry(CAPACITY + rounds * PUSHES)), LATE));
}

/** Whether all have done the same work is known from what lies in them. */
async function compare(): Promise<void> {
  for (const id of ids.slice(0, 2_000)) {
    const found = await Promise.all(
      CANDIDATES.map(async ({ name, read, entries }) => {
        const args = [EPOCH, VERSION, "", 2 * CAPACITY, TTL];
        const answer = (await run(read, [keyOf(name, id), hashOf(name, id)], args)) as Buffer[];
        return Buffer.concat(entries(answer[3] ?? END));
      }),
    );
    const [first] = found;
    const times = (bytes: Buffer) => bytes.length / END.length;
    if (!first || times(first) < CAPACITY || !found.every((one) => one.equals(first)))
      throw new Error(`timelines differ: ${found.map(times).join(", ")} entries`);
  }
}

async function report(measured: readonly Measured[]): Promise<void> {
  const version = /^redis_version:(\S+)/m.exec(await redis.info("server"))?.[1] ?? "";
  const machine = describeMachine();
  if (values.json) {
    const candidates = measured.map((one) => ({
      name: one.candidate.name,
      bytes_fresh: Math.round(one.fresh),
      bytes_most: Math.round(one.most),
      ...Object.fromEntries(
        (Object.keys(MEASURES) as Measure[]).flatMap((measure) => [
          [`${measure}_per_second`, Math.round(one.median(measure, "wall"))],
          [`${measure}_per_processor_second`, Math.round(one.median(measure, "processor"))],
        ]),
      ),
    }));
    const run = { timelines, entries: CAPACITY, rounds, redis: version };
    process.stdout.write(`${JSON.stringify({ bench: "timelines", started_at, machine, ...run, candidates })}\n`);
    return;
  }
  const line = (name: string, figures: readonly (string | number)[]) =>
    `  ${name.padEnd(42)}${figures.map((figure) => (typeof figure === "number" ? count(figure) : figure).padStart(12)).join("")}`;
  const speeds = (of: keyof Speed, unit: string) =>
    (Object.keys(MEASURES) as Measure[]).map((measure) =>
      line(
        `${MEASURES[measure]} ${unit}`,
        measured.map((one) => one.median(measure, of)),
      ),
    );
  const lines = [
    `${count(timelines)} timelines of ${CAPACITY}, ${rounds} rounds, Redis ${version} on ${machine.cores} × ${machine.cpu}, Node ${machine.node}\n`,
    line(
      "",
      measured.map((one) => one.candidate.name),
    ),
    line(
      "bytes a timeline, fresh",
      measured.map((one) => one.fresh),
    ),
    line(
      `at most, in ${rounds * PUSHES} pushes`,
      measured.map((one) => one.most),
    ),
    ...speeds("wall", "a second"),
    ...speeds("processor", "a second of Redis' CPU"),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** @param calls each of which does its part of `work`. */
async function timed(calls: readonly (() => Promise<unknown>)[], work: number): Promise<Speed> {
  const [used, started] = [await usedProcessor(), performance.now()];
  for (let at = 0; at < calls.length; at += AT_ONCE) {
    await Promise.all(calls.slice(at, at + AT_ONCE).map((call) => call()));
  }
  const wall = (performance.now() - started) / 1_000;
  return { wall: work / wall, processor: work / ((await usedProcessor()) - used) };
}

async function run(script: Script, keys: readonly string[], args: readonly (string | number | Buffer)[]) {
  const rest = [keys.length, ...keys, ...args];
  try {
    return await redis.callBuffer("EVALSHA", script.sha, ...rest);
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
    return redis.callBuffer("EVAL", script.lua, ...rest);
  }
}

/** The n-th entry of every timeline, a second after the one before. */
function entry(n: number, laterBy = 0): Buffer {
  const bytes = Buffer.alloc(END.length);
  bytes.writeBigUInt64BE(BigInt(BEGIN + n * 1_000 + laterBy));
  createHash("sha256").update(`${n} ${laterBy}`).digest().copy(bytes, 8, 0, 16);
  return bytes;
}

function inCalls(some: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(some.length / CALL) }, (_, n) => some.slice(n * CALL, (n + 1) * CALL));
}

function inTurn<T>(all: readonly T[], round: number): T[] {
  const first = round % all.length;
  return [...all.slice(first), ...all.slice(0, first)];
}

function keyOf(name: string, id: string): string {
  return `tintype:${name}:{t000}:${id}`;
}

function keysOf(name: string, some: readonly string[]): string[] {
  return some.map((id) => keyOf(name, id));
}

function hashOf(name: string, id: string): string {
  return `tintype:${name}-viewer:{t000}:${id}`;
}

async function usedMemory(): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info("memory"))?.[1]);
}

/** Seconds of the thread that runs commands. */
async function usedProcessor(): Promise<number> {
  const info = await redis.info("cpu");
  return ["user", "sys"].reduce(
    (sum, kind) => sum + Number(new RegExp(`^used_cpu_${kind}_main_thread:(\\S+)`, "m").exec(info)?.[1]),
    0,
  );
}

function median(figures: readonly number[]): number {
  return figures.toSorted((a, b) => a - b)[Math.floor((figures.length - 1) / 2)] ?? Number.NaN;
}

function count(value: number): string {
  return Math.round(value).toLocaleString("en");
}
