import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import t from "tap";
import { exactly } from "../test/support/exactly.ts";
import { waitFor } from "../test/support/server.ts";
import { type Phase, shutDown } from "./lifecycle.ts";

/** A logger that keeps what was said. */
function keeper() {
  const said: { msg: string; phase: string; err?: { message: string } }[] = [];
  const log = pino({}, { write: (line: string) => void said.push(JSON.parse(line)) });
  return { log, said };
}

t.test("phases are run one after the other, whatever becomes of them", async (t) => {
  const { log, said } = keeper();
  const ran: string[] = [];
  const late = Promise.withResolvers<void>();
  const phase = (name: string, run: () => Promise<unknown>, timeout = 5_000): Phase => ({
    name,
    timeout,
    run: () => {
      ran.push(name);
      return run();
    },
  });
  const clean = await shutDown(
    [
      phase("waits", () => new Promise((resolve) => setTimeout(() => resolve(ran.push("waited")), 30))),
      phase("fails", () => Promise.reject(new Error("broken"))),
      phase("throws", () => {
        throw new Error("at once");
      }),
      phase("hangs", () => late.promise, 50),
      phase("ends", async () => undefined),
    ],
    log,
  );
  t.equal(clean, false);
  t.same(ran, ["waits", "waited", "fails", "throws", "hangs", "ends"]);
  t.match(
    said,
    exactly(
      { phase: "waits", msg: "shutdown phase done" },
      { phase: "fails", msg: "shutdown phase failed", err: { message: "broken" } },
      { phase: "throws", msg: "shutdown phase failed", err: { message: "at once" } },
      { phase: "hangs", msg: "shutdown phase failed", err: { message: "took longer than 50 ms" } },
      { phase: "ends", msg: "shutdown phase done" },
    ),
  );
  // Unheard, the failure of a phase that was left behind would end the process.
  late.reject(new Error("much later"));
  await new Promise((resolve) => setImmediate(resolve));
});

t.test("it says whether all went well, and leaves no timer behind", async (t) => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const before = timers();
  t.equal(await shutDown([{ name: "one", timeout: 60_000, run: async () => 1 }], keeper().log), true);
  t.equal(await shutDown([], keeper().log), true);
  t.equal(timers(), before);
});

t.test("signals", async (t) => {
  const script = `
    import { pino } from "pino";
    import { untilStopped } from ${JSON.stringify(fileURLToPath(new URL("lifecycle.ts", import.meta.url)))};
    const { stopped, stop } = untilStopped(pino({ level: "silent" }));
    setTimeout(() => {}, 60_000);
    process.on("message", stop);
    console.log("ready");
    console.log(await stopped);
  `;
  const begin = async () => {
    const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
      cwd: fileURLToPath(new URL("..", import.meta.url)),
      stdio: ["ignore", "pipe", "inherit", "ipc"],
    });
    t.teardown(() => child.kill("SIGKILL"));
    let output = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    const says = (line: string) => waitFor(async () => output.includes(`${line}\n`), line);
    await says("ready");
    return { child, says, exited: once(child, "exit") };
  };

  for (const [first, second, code] of [
    ["SIGTERM", "SIGTERM", 143],
    ["SIGTERM", "SIGINT", 130],
    ["SIGINT", "SIGTERM", 143],
  ] as const) {
    const { child, says, exited } = await begin();
    child.kill(first);
    await says(first);
    t.equal(child.exitCode, null, "the first asks for a shutdown");
    child.kill(second);
    t.same(await exited, [code, null], `${second} after ${first} ends it at once`);
  }

  const { child, says, exited } = await begin();
  child.send("the database is gone");
  await says("the database is gone");
  child.kill("SIGTERM");
  t.same(await exited, [143, null], "a signal while it stops for another reason ends it at once too");
});
