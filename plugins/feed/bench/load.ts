import { assertAnswered, type LoadGenerator, loadTo } from "../../../src/bench/load/generator.ts";
import type { ClassResult, KeptAnswer, LoadResult, RequestClass } from "../../../src/bench/load/plan.ts";
import { observed, readMetrics } from "../../../src/bench/metrics.ts";
import type { Reference } from "../../../src/bench/reference.ts";
import { judged, type Ratio } from "../../../src/bench/report.ts";
import { median } from "../../../src/bench/statistics.ts";
import { pagesOf } from "./requests.ts";

/** Of all requests, those that change something. */
const WRITES = 0.01;
/** The share of the capacity at which requests arrive in the open model. */
export const LOAD = 0.5;
/**
 * How many measurements long each is asked before the first one. On two busy cores V8 took half a minute to compile what a
 * page needs, and a page of the second before took three times as long.
 */
const WARM_UP = 6;
/** Of how many answers under load one is looked at. */
const LOOKED_AT = 50;

/** A load of pages of many viewers, and of changes among them. */
export interface FeedLoad {
  /** `http://HOST:PORT` */
  url: string;
  generator: LoadGenerator;
  /** The one who comes most often first. */
  tokens: string[];
  /** None, if nothing is to be changed. */
  changes: Buffer[];
  /** @throws OperationError when an answer is not its viewer's. */
  verify(kept: KeptAnswer[]): void;
  pairs: number;
  /** Of one measurement. */
  seconds: number;
  connections: number;
  seed: number;
  log: (line: string) => void;
}

interface Compared {
  /** Pages a second. */
  capacity: number;
  figures: Record<string, number>;
  ratios: Ratio[];
}

/** What is measured in turn with the others. */
interface Contestant {
  name: "product" | "buffer" | "same_auth";
  load: FeedLoad;
  path?: string;
  /** Processor time that its server has taken so far. */
  cpuSeconds(): Promise<number>;
  /** By pair: pages a second, and microseconds of the server's processor time a page. */
  perSecond: number[];
  cpuOfPage: number[];
  /** The highest. */
  generatorShare: number;
}

/**
 * Pages a second of the product against those of the references, in the closed model, in turn; the ratios are medians of the
 * pairs'. Changes are answered too and not counted, so that what they cost is the product's.
 */
export async function comparePairs(
  load: FeedLoad,
  references: { buffer: Reference; same_auth?: Reference },
): Promise<Compared> {
  const { pairs, log, url } = load;
  const none = { perSecond: [], cpuOfPage: [], generatorShare: 0 };
  const product: Contestant = {
    ...{ ...structuredClone(none), name: "product", load },
    cpuSeconds: async () => (await readMetrics(url)).sum("process_cpu_seconds_total"),
  };
  const others = (["buffer", "same_auth"] as const).flatMap((name): Contestant[] => {
    const reference = references[name];
    if (!reference) return [];
    const { url, cpuSeconds } = reference;
    return [{ ...structuredClone(none), name, load: { ...load, url, changes: [] }, path: "/", cpuSeconds }];
  });
  const all = [product, ...others];
  for (const { load, path } of all) await closed({ ...load, seconds: WARM_UP * load.seconds }, path);
  for (let pair = 0; pair < pairs; pair++) {
    for (const contestant of all) await measureOnce(contestant);
    const said = all.map(({ name, perSecond }) => `${name} ${Math.round(perSecond.at(-1) ?? 0)}`);
    log(`pair ${pair + 1} of ${pairs}, pages a second: ${said.join(", ")}`);
  }
  return {
    capacity: median(product.perSecond),
    figures: {
      capacity_pages_per_second: median(product.perSecond),
      ...Object.fromEntries(all.map(({ name, cpuOfPage }) => [`${name}_cpu_us_a_page`, median(cpuOfPage)])),
      client_cpu_share: Math.max(...all.map(({ generatorShare }) => generatorShare)),
    },
    ratios: others.map((reference) => ratioTo(product, reference)),
  };
}

async function measureOnce(contestant: Contestant): Promise<void> {
  const { load, path } = contestant;
  // What comes before counts for nothing: while the others had their turns, the server has forgotten who its viewers are,
  // as it does after half a minute, and one that serves all the time has not.
  await closed({ ...load, seconds: load.seconds / 4, seed: load.seed + 1 }, path);
  const before = await contestant.cpuSeconds();
  const result = await closed(load, path);
  const cpuSeconds = (await contestant.cpuSeconds()) - before;
  const pages = pagesIn(result);
  if (path === undefined) load.verify(pages.kept);
  contestant.perSecond.push(pages.perSecond);
  contestant.cpuOfPage.push((cpuSeconds * 1e6) / pages.answered);
  contestant.generatorShare = Math.max(contestant.generatorShare, result.generatorShare);
}

const REFERENCES = {
  buffer: { ratio: "feed_page_vs_buffer", goal: 0.25, told: "a bare Fastify route that sends the same bytes" },
  same_auth: {
    ...{ ratio: "feed_page_vs_same_auth", goal: 0.7 },
    told: "a Fastify route with the same authentication and one round trip to Redis",
  },
};

function ratioTo(product: Contestant, reference: Contestant): Ratio {
  if (reference.name === "product") throw new Error("the product is no reference");
  const { ratio, goal, told } = REFERENCES[reference.name];
  return judged({
    name: ratio,
    value: median(product.perSecond.map((value, pair) => value / (reference.perSecond[pair] ?? Number.NaN))),
    goal,
    reference: { name: told, value: median(reference.perSecond), unit: "pages/s" },
    measured: { value: median(product.perSecond), unit: "pages/s" },
  });
}

/** Latencies at a constant rate of arrivals, and how the server fares meanwhile. */
export async function measureOpen(load: FeedLoad, rate: number): Promise<Record<string, number>> {
  const { generator, connections, seed, seconds, url, log } = load;
  log(`sending ${Math.round(rate)} requests a second, whatever becomes of them`);
  const { result, usage, grown } = await observed(url, () =>
    generator.run({
      // More connections than in the closed model: nobody who arrives waits for another's to be free.
      ...loadTo(url, { connections: 4 * connections, seed }),
      arrivals: { model: "open", rate, seconds: 3 * seconds },
      classes: mixOf(load),
    }),
  );
  assertAnswered(result);
  const pages = pagesIn(result);
  load.verify(pages.kept);
  const [hits, misses] = [grown("instagram_feed_cache_hits_total"), grown("instagram_feed_cache_misses_total")];
  return {
    open_rate_per_second: rate,
    open_p50_ms: pages.latency.p50,
    open_p95_ms: pages.latency.p95,
    open_p99_ms: pages.latency.p99,
    open_max_ms: pages.latency.max,
    // Without a Redis there is nothing to hit.
    ...(hits + misses > 0 && { open_hit_share: hits / (hits + misses) }),
    server_cpu_share: usage.cpuShare,
    server_rss_mib: usage.rssBytes / 2 ** 20,
    server_loop_delay_p99_ms: usage.loopP99,
  };
}

async function closed(load: FeedLoad, path?: string): Promise<LoadResult> {
  const { generator, connections, seed, seconds, url } = load;
  const result = await generator.run({
    ...loadTo(url, { connections, seed }),
    arrivals: { model: "closed", seconds },
    classes: mixOf(load, path),
  });
  assertAnswered(result);
  return result;
}

function mixOf({ url, tokens, changes }: FeedLoad, path?: string): RequestClass[] {
  const { host } = new URL(url);
  const pages = (share: number) =>
    pagesOf(host, tokens, { share, ...(path === undefined ? { keepOneOf: LOOKED_AT } : { path }) });
  if (changes.length === 0) return [pages(1)];
  return [pages(1 - WRITES), { name: "changes", share: WRITES, draw: "turn", requests: changes, keepOneOf: 0 }];
}

function pagesIn({ classes }: LoadResult): ClassResult {
  const pages = classes.find(({ name }) => name === "pages");
  if (!pages) throw new Error("there are always pages in the mix");
  return pages;
}
