import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { drawer, Random } from "../random.ts";
import { Connection } from "./connection.ts";
import type { ClassResult, KeptAnswer, LoadPlan, LoadResult, RequestClass } from "./plan.ts";

/** Milliseconds that answers may take after the last request was to go out. */
const PATIENCE = 10_000;

/**
 * Sends the requests of a plan and measures how long the answers take.
 *
 * In the open model a latency is counted from the moment at which the request was to be sent, whether or not a connection
 * was free then. A generator that waits for a slow answer and counts from when it really sends leaves out all those who would have
 * come meanwhile: the coordinated omission that Gil Tene describes, and that wrk2 and the arrival rates of k6 avoid in
 * the same way. What is not answered in the end is counted with the time that it has waited.
 * @throws OperationError when nobody listens.
 */
export async function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const connections = Array.from({ length: plan.connections }, () => new Connection(plan));
  try {
    await Promise.all(connections.map((connection) => connection.opened()));
    const run = new Run(plan, connections);
    const { arrivals } = plan;
    const cpu = process.cpuUsage();
    const begin = performance.now();
    if (arrivals.model === "open") await run.open(arrivals.rate, arrivals.seconds);
    else await run.closed(arrivals.model === "closed" ? arrivals.seconds : Number.POSITIVE_INFINITY);
    const milliseconds = performance.now() - begin;
    const { user, system } = process.cpuUsage(cpu);
    return run.result(milliseconds / 1000, (user + system) / 1000 / milliseconds);
  } finally {
    for (const connection of connections) connection.close();
  }
}

class Run {
  readonly #classes: Sender[];
  readonly #random: Random;
  /** Those that nothing is under way on. */
  readonly #idle: Connection[];
  readonly #once: boolean;

  constructor(plan: LoadPlan, connections: readonly Connection[]) {
    this.#random = new Random(plan.seed);
    this.#classes = plan.classes.map((requests) => new Sender(requests));
    this.#idle = [...connections];
    this.#once = plan.arrivals.model === "once";
  }

  async open(rate: number, seconds: number): Promise<void> {
    const total = Math.round(rate * seconds);
    const begin = performance.now();
    const intended = (index: number) => begin + (index * 1000) / rate;
    const waiting = new Map<number, Sender>();
    let [next, due] = [0, 0];
    const { promise: answered, resolve: allAnswered } = Promise.withResolvers<void>();
    const send = () => {
      while (next < due && this.#idle.length > 0) {
        const connection = this.#idle.pop();
        if (!connection) return;
        const index = next++;
        const sender = this.#chosen();
        waiting.set(index, sender);
        sender.send(connection, this.#random, intended(index), () => {
          waiting.delete(index);
          this.#idle.push(connection);
          send();
          if (next === total && waiting.size === 0) allAnswered();
        });
      }
    };
    while (due < total) {
      due = Math.min(total, Math.floor(((performance.now() - begin) * rate) / 1000) + 1);
      send();
      await sleep(1);
    }
    if (total > 0) await Promise.race([answered, sleep(PATIENCE, undefined, { ref: false })]);
    for (const [index, sender] of waiting) sender.record(0, intended(index));
    for (; next < total; next++) this.#chosen().record(0, intended(next));
  }

  async closed(seconds: number): Promise<void> {
    const end = performance.now() + seconds * 1000;
    await Promise.all(
      this.#idle.map(async (connection) => {
        while (performance.now() < end) {
          const sender = this.#chosen();
          if (this.#once && sender.exhausted) return;
          const { promise, resolve } = Promise.withResolvers<void>();
          sender.send(connection, this.#random, performance.now(), resolve);
          await promise;
        }
      }),
    );
  }

  result(seconds: number, generatorShare: number): LoadResult {
    return { seconds, generatorShare, classes: this.#classes.map((sender) => sender.result(seconds)) };
  }

  #chosen(): Sender {
    let left = this.#classes.length > 1 ? this.#random.next() : 0;
    for (const sender of this.#classes) {
      left -= sender.share;
      if (left < 0) return sender;
    }
    const last = this.#classes.at(-1);
    if (!last) throw new Error("a plan has classes of requests");
    return last;
  }
}

/** Sends the requests of one class, and knows what became of them. */
class Sender {
  readonly #class: RequestClass;
  readonly #draw: (random: Random) => number;
  /** Of microseconds, up to an hour. */
  readonly #latencies: RecordableHistogram = createHistogram({ lowest: 1, highest: 3_600_000_000, figures: 3 });
  readonly #statuses: Record<number, number> = {};
  readonly #kept: KeptAnswer[] = [];
  #sent = 0;

  constructor(requests: RequestClass) {
    const { draw } = requests;
    const count = requests.requests.length;
    this.#class = requests;
    this.#draw = draw === "turn" ? () => this.#sent % count : drawer(count, draw);
  }

  get share(): number {
    return this.#class.share;
  }

  get exhausted(): boolean {
    return this.#sent >= this.#class.requests.length;
  }

  send(connection: Connection, random: Random, intended: number, done: () => void): void {
    const index = this.#draw(random);
    const request = this.#class.requests[index];
    if (!request) throw new Error("a class has requests");
    const { keepOneOf } = this.#class;
    const keep = keepOneOf > 0 && this.#sent % keepOneOf === 0;
    this.#sent++;
    connection.send(request, keep, (status, body) => {
      this.record(status, intended);
      if (body) this.#kept.push({ request: index, status, body });
      done();
    });
  }

  record(status: number, intended: number): void {
    this.#latencies.record(Math.max(1, Math.round((performance.now() - intended) * 1000)));
    this.#statuses[status] = (this.#statuses[status] ?? 0) + 1;
  }

  result(seconds: number): ClassResult {
    const milliseconds = (percentile: number) => this.#latencies.percentile(percentile) / 1000;
    const answered = this.#latencies.count - (this.#statuses[0] ?? 0);
    return {
      name: this.#class.name,
      answered,
      perSecond: answered / seconds,
      latency: {
        p50: milliseconds(50),
        p95: milliseconds(95),
        p99: milliseconds(99),
        max: this.#latencies.count > 0 ? this.#latencies.max / 1000 : 0,
      },
      statuses: this.#statuses,
      kept: this.#kept,
    };
  }
}
