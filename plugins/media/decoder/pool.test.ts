import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import t from "tap";
import { bomb, largePhoto, picture, truncated } from "../../../test/support/pictures.ts";
import { createDecoderPool, DecoderClosedError, type DecoderPoolOptions } from "./pool.ts";

const LIMITS = { maxPixels: 50e6 };
const dir = t.testdir();
let files = 0;

/** A new file with its own output directory. */
async function stage(content: Buffer): Promise<{ input: string; output: string }> {
  const name = `${files++}`;
  const input = join(dir, `${name}.jpg`);
  const output = join(dir, `${name}.out`);
  await Promise.all([writeFile(input, content), mkdir(output)]);
  return { input, output };
}

t.test("the pool", async (t) => {
  const small = await picture({ width: 200, height: 150 });
  /** Some seconds of work: many pixels, and no shrinking on load. */
  const slow = bomb(7000, 7000);
  const open = (options: Partial<DecoderPoolOptions> = {}) => {
    const pool = createDecoderPool({
      size: 1,
      timeoutMs: 60_000,
      maxRssBytes: 2 ** 31,
      log: pino({ level: "silent" }),
      ...LIMITS,
      ...options,
    });
    t.teardown(() => pool.close());
    return pool;
  };
  const until = async <T>(find: () => T | undefined): Promise<T> => {
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const children = (): number[] =>
    readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
  const isDecoder = (pid: number): boolean => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("decoder/child");
  const linkOf = (pid: number, fd: string) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return "";
    }
  };
  const decoders = () => children().filter(isDecoder);

  await t.test("renders, and keeps its process", async (t) => {
    const pool = open({ size: 2 });
    t.equal(pool.size, 2);
    t.same(decoders(), [], "started when needed");
    const results = await Promise.all(
      Array.from({ length: 6 }, async () => {
        const { input, output } = await stage(small);
        return pool.render(input, output);
      }),
    );
    t.equal(new Set(results.flatMap(({ renditions }) => renditions.map(({ path }) => path))).size, 24);
    // On a busy machine the first file may have given its place up.
    t.ok(decoders().length <= pool.maxProcesses, `${decoders().length} processes for six files`);
    const [pid] = decoders();
    const environment = readFileSync(`/proc/${pid}/environ`, "latin1");
    t.match(environment, /MALLOC_ARENA_MAX=2/);
    t.notMatch(environment, /\0(HOME|PATH|USER|TINTYPE_\w+)=/, "nothing of the parent's environment");
    t.equal(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[16], "10", "nice");
    process.kill(pid ?? 0, "SIGTERM");
    process.kill(pid ?? 0, "SIGINT");
    const { input, output } = await stage(small);
    await pool.render(input, output);
    t.ok(decoders().includes(pid ?? 0), "signals to the group are the parent's affair");
    await pool.close();
    t.same(decoders(), []);
    await t.rejects(pool.render(input, output), DecoderClosedError);
  });

  await t.test("a refusal reaches the caller with its code, and the process lives on", async (t) => {
    const pool = open();
    const bad = await stage(truncated(small));
    await t.rejects(pool.render(bad.input, bad.output), {
      code: "PICTURE_UNREADABLE",
      message: "The picture is damaged or incomplete.",
    });
    await t.rejects(pool.render(join(dir, "absent"), bad.output), { name: "Error", code: "ENOENT" });
    const [pid] = decoders();
    const good = await stage(small);
    t.match(await pool.render(good.input, good.output), { width: 200 });
    t.same(decoders(), [pid]);
    await pool.close();
  });

  await t.test("what is no fault of the picture comes with the system's code", async (t) => {
    const pool = open();
    const { input, output } = await stage(small);
    await t.rejects(pool.render(input, join(output, "absent")), { name: "Error", code: "ENOENT" });
    await pool.close();
  });

  await t.test("says when a file's turn has come, and waits for who hears it", async (t) => {
    const pool = open();
    const [one, two] = await Promise.all([stage(small), stage(small)]);
    let firstStarted = false;
    let secondStarted: { firstStarted: boolean } | undefined;
    const gate = Promise.withResolvers<void>();
    const first = pool.render(one.input, one.output, {
      onStart: async () => {
        await gate.promise;
        firstStarted = true;
      },
    });
    const second = pool.render(two.input, two.output, {
      onStart: async () => {
        secondStarted = { firstStarted };
      },
    });
    await new Promise(setImmediate);
    t.same([decoders(), secondStarted], [[], undefined], "nothing is begun before");
    gate.resolve();
    await Promise.all([first, second]);
    t.same(secondStarted, { firstStarted: true });
    const refused = { onStart: () => Promise.reject(new Error("no")) };
    await t.rejects(pool.render(one.input, one.output, refused), { message: "no" });
    t.match(await pool.render(one.input, one.output), { width: 200 }, "its place is free again");
    await pool.close();
  });

  await t.test("a crash costs its own file only", async (t) => {
    const pool = open();
    const victim = await stage(slow);
    const next = await stage(small);
    const crashed = t.rejects(pool.render(victim.input, victim.output), { code: "DECODER_CRASHED", detail: /SIGKILL/ });
    const passed = pool.render(next.input, next.output);
    const pid = await until(() => decoders()[0]);
    process.kill(pid, "SIGKILL");
    await crashed;
    t.match(await passed, { width: 200 });
    t.notOk(decoders().includes(pid));
    process.kill(decoders()[0] ?? 0, "SIGKILL");
    await until(() => (decoders().length === 0 ? true : undefined));
    t.match(await pool.render(next.input, next.output), { width: 200 }, "one that died idle is replaced");
    await pool.close();
  });

  await t.test("limits of time and memory", async (t) => {
    const { input, output } = await stage(slow);
    const impatient = open({ timeoutMs: 50 });
    await t.rejects(impatient.render(input, output), { code: "PICTURE_TIMEOUT", detail: "after 50 ms" });
    await impatient.close();
    const narrow = open({ maxRssBytes: 10e6 });
    await t.rejects(narrow.render(input, output), { code: "DECODER_CRASHED", detail: /bytes of memory/ });
    await narrow.close();
    t.same(decoders(), []);
  });

  await t.test("a file that takes long costs its own process, and another's is decoded beside it", async (t) => {
    const pool = open();
    const [stalled, next] = await Promise.all([stage(slow), stage(small)]);
    const lost = t.rejects(pool.render(stalled.input, stalled.output, { owner: "mallory" }), {
      code: "DECODER_CRASHED",
    });
    const pid = await until(() => decoders()[0]);
    // Until it has opened the file.
    await until(() => readdirSync(`/proc/${pid}/fd`).some((fd) => linkOf(pid, fd) === stalled.input) || undefined);
    process.kill(pid, "SIGSTOP");
    t.match(await pool.render(next.input, next.output, { owner: "ana" }), { width: 200 });
    t.ok(decoders().includes(pid), "it goes on in the side lane");
    t.ok(decoders().length <= pool.maxProcesses);
    process.kill(pid, "SIGKILL");
    await lost;
    await pool.close();
  });

  await t.test("what the kernel holds a process to", { skip: process.platform !== "linux" }, async (t) => {
    const maxRssBytes = 300 * 2 ** 20;
    const pool = open({ maxRssBytes });
    const { input, output } = await stage(small);
    await pool.render(input, output);
    const [pid] = decoders();
    const limits = readFileSync(`/proc/${pid}/limits`, "utf8");
    const data = Number(/Max data size\s+(\d+)/.exec(limits)?.[1]);
    t.ok(data > maxRssBytes && data <= maxRssBytes + 2 ** 30, `${data} bytes of data`);
    t.match(limits, /Max core file size\s+0 /);
    t.equal(readFileSync(`/proc/${pid}/oom_score_adj`, "utf8").trim(), "1000", "rather than the server");
    await pool.close();
  });

  await t.test("abort, running and waiting", async (t) => {
    const pool = open();
    const { input, output } = await stage(slow);
    const [running, waiting] = [new AbortController(), new AbortController()];
    const first = t.rejects(pool.render(input, output, { signal: running.signal }), { message: "enough" });
    const second = t.rejects(pool.render(input, output, { signal: waiting.signal }), { message: "not needed" });
    const good = await stage(small);
    const third = pool.render(good.input, good.output);
    waiting.abort(new Error("not needed"));
    await second;
    running.abort(new Error("enough"));
    await first;
    t.match(await third, { width: 200 });
    await t.rejects(pool.render(input, output, { signal: AbortSignal.abort(new Error("too late")) }), {
      message: "too late",
    });
    await pool.close();
  });

  await t.test("closing waits for what runs and refuses what waits", async (t) => {
    const pool = open();
    const one = await stage(await largePhoto());
    const two = await stage(small);
    const running = pool.render(one.input, one.output);
    const refused = t.rejects(pool.render(two.input, two.output), DecoderClosedError);
    const closed = pool.close();
    t.equal(pool.close(), closed);
    await refused;
    t.match(await running, { width: 2725 });
    await closed;
    t.same(decoders(), []);
  });

  await t.test("a child whose parent vanishes ends, and a closed pool lets its process end", async (t) => {
    const { spawn } = await import("node:child_process");
    const pool = join(import.meta.dirname, "pool.ts");
    const script = (tail: string) => `
      import { createDecoderPool } from ${JSON.stringify(pool)};
      import { pino } from "pino";
      const pool = createDecoderPool({ size: 1, timeoutMs: 60000, maxRssBytes: 2 ** 31, maxPixels: 50e6,
        log: pino({ level: "silent" }) });
      ${tail}`;
    const run = (tail: string) =>
      spawn(process.execPath, ["--input-type=module-typescript", "-e", script(tail)], {
        cwd: import.meta.dirname,
        stdio: ["ignore", "pipe", "inherit"],
      });
    const good = await stage(small);
    const [input, output] = [JSON.stringify(good.input), JSON.stringify(good.output)];
    const tidy = run(`await pool.render(${input}, ${output}); await pool.close();`);
    t.same((await once(tidy, "exit"))[0], 0);

    const busy = await stage(slow);
    const doomed = run(`pool.render(${JSON.stringify(busy.input)}, ${JSON.stringify(busy.output)});`);
    const grandchild = await until(() => {
      const found = readFileSync(`/proc/${doomed.pid}/task/${doomed.pid}/children`, "utf8").trim();
      return found ? Number(found) : undefined;
    });
    doomed.kill("SIGKILL");
    await until(() => {
      try {
        return /^State:\s+Z/m.test(readFileSync(`/proc/${grandchild}/status`, "utf8")) || undefined;
      } catch {
        return true;
      }
    });
    t.pass("ended by itself");
  });
});
