import { OperationError } from "../errors.ts";

/** What /metrics of a server said at one moment. */
export interface Metrics {
  /** The sum over all that have these labels; 0 for a metric that is not there. */
  sum(name: string, labels?: Readonly<Record<string, string>>): number;
}

/** How a server fared between two moments. */
export interface Usage {
  /** Of one core. */
  cpuShare: number;
  rssBytes: number;
  /** The delay of the event loop, in milliseconds. */
  loopP99: number;
}

const SAMPLE = /^(\w+)(?:\{(.*)\})? (\S+)/;

/** @param origin `http://HOST:PORT` */
export async function readMetrics(origin: string): Promise<Metrics> {
  const response = await fetch(`${origin}/metrics`);
  if (!response.ok) throw new OperationError(`${origin}/metrics answered ${response.status}`);
  const samples = (await response.text()).split("\n").flatMap((line) => {
    const [, name = "", labels = "", value] = SAMPLE.exec(line) ?? [];
    return name === "" ? [] : [{ name, labels, value: Number(value) }];
  });
  return {
    sum: (name, labels = {}) =>
      samples
        .filter((sample) => sample.name === name)
        .filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels.includes(`${key}="${value}"`)))
        .reduce((sum, { value }) => sum + value, 0),
  };
}

/** Runs `work` between two looks at the metrics of a server. */
export async function observed<T>(
  origin: string,
  work: () => Promise<T>,
): Promise<{ result: T; usage: Usage; grown(name: string, labels?: Readonly<Record<string, string>>): number }> {
  // The delays of the event loop are counted from one look to the next.
  const before = await readMetrics(origin);
  const begin = performance.now();
  const result = await work();
  const seconds = (performance.now() - begin) / 1000;
  const after = await readMetrics(origin);
  const grown = (name: string, labels = {}) => after.sum(name, labels) - before.sum(name, labels);
  return {
    result,
    grown,
    usage: {
      cpuShare: grown("process_cpu_seconds_total") / seconds,
      rssBytes: after.sum("process_resident_memory_bytes"),
      loopP99: after.sum("nodejs_eventloop_lag_p99_seconds") * 1000,
    },
  };
}
