import { assertAnswered, type LoadGenerator, loadTo } from "../../../src/bench/load/generator.ts";
import type { ClassResult, KeptAnswer, LoadResult, RequestClass } from "../../../src/bench/load/plan.ts";
import { observed } from "../../../src/bench/metrics.ts";
import type { Reference } from "../../../src/bench/reference.ts";
import { judged, type Ratio } from "../../../src/bench/report.ts";
import { median } from "../../../src/bench/statistics.ts";
import { pagesOf } from "./requests.ts";

const GOALS = { buffer: 0.25, sameAuth: 0.7 };
/** Of all requests, those that change something. */
const WRITES = 0.01;
/** The share of the capacity at which requests arrive in the open model. */
export const LOAD = 0.5;
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

/**
 * Pages a second of the product against those of the references, in the closed model, in turn; the ratios are medians of the
 * pairs'. Changes are answered too and not counted, so that what they cost is the product's.
 */
export async function comparePairs(
  load: FeedLoad,
  references: { buffer: Reference; sameAuth?: Reference },
): Promise<Compared> {
  const { pairs, log } = load;
  const product: number[] = [];
  const byReference = Object.entries(references).map(([name, { url }]) => ({ name, url, measured: [] as number[] }));
  const generatorShares = { product: 0, reference: 0 };
  // The first round warms compilers and caches up.
  for (let pair = -1; pair < pairs; pair++) {
    const own = await closed(load);
    load.verify(pagesIn(own).kept);
    if (pair >= 0) product.push(pagesIn(own).perSecond);
    for (const { url, measured } of byReference) {
      const reference = await closed({ ...load, url, changes: [] }, "/");
      if (pair < 0) continue;
      measured.push(pagesIn(reference).perSecond);
      generatorShares.reference = Math.max(generatorShares.reference, reference.generatorShare);
    }
    generatorShares.product = Math.max(generatorShares.product, own.generatorShare);
    if (pair >= 0)
      log(
        `pair ${pair + 1} of ${pairs}: ${said(product)} pages a second, ${byReference.map(({ name, measured }) => `${name} ${said(measured)}`).join(", ")}`,
      );
  }
  const capacity = median(product);
  const ratioTo = (name: keyof typeof references, told: string): Ratio[] => {
    const measured = byReference.find((reference) => reference.name === name)?.measured;
    if (!measured) return [];
    return [
      judged({
        name: name === "buffer" ? "feed_page_vs_buffer" : "feed_page_vs_same_auth",
        value: median(product.map((value, pair) => value / (measured[pair] ?? Number.NaN))),
        goal: GOALS[name],
        reference: { name: told, value: median(measured), unit: "pages/s" },
        measured: { value: capacity, unit: "pages/s" },
      }),
    ];
  };
  return {
    capacity,
    figures: {
      capacity_pages_per_second: capacity,
      client_cpu_share_at_capacity: generatorShares.product,
      client_cpu_share_of_references: generatorShares.reference,
    },
    ratios: [
      ...ratioTo("buffer", "a bare Fastify route that sends the same bytes"),
      ...ratioTo("sameAuth", "a Fastify route with the same authentication and one round trip to Redis"),
    ],
  };
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

/**
 * What comes before counts for nothing: while the others had their turns, the server has forgotten who its viewers are, as
 * it does after five seconds, and one that serves all the time has not.
 */
async function closed(load: FeedLoad, path?: string): Promise<LoadResult> {
  const { generator, connections, seed, seconds, url } = load;
  const run = async (seconds: number, seed: number) => {
    const result = await generator.run({
      ...loadTo(url, { connections, seed }),
      arrivals: { model: "closed", seconds },
      classes: mixOf(load, path),
    });
    assertAnswered(result);
    return result;
  };
  await run(seconds / 4, seed + 1);
  return run(seconds, seed);
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

function said(values: readonly number[]): number {
  return Math.round(values.at(-1) ?? 0);
}
