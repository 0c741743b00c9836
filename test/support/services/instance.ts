import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { Socket } from "node:net";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { Place, Service } from "./service.ts";
import { environmentAt, logOf, newPlace, untilReady } from "./start.ts";

/**
 * Starts the service ("start", says its pid) and kills it ("kill", says so), and ends it and removes its folder when its
 * standard input ends: that is how it is stopped, and what happens by itself when this process is killed.
 */
const KEEPER = `signal=$1; shift
while read -r word; do
  case $word in
    start) "$@" </dev/null >>"$0/log" 2>&1 & server=$!; echo "$server" ;;
    kill) kill -KILL "$server"; wait "$server"; echo killed ;;
  esac
done
kill -"$signal" "$server"
wait "$server"
rm -rf "$0"`;

/** A service of this process's own, which ends with it, however that ends. */
export class Instance {
  readonly place: Place;
  readonly #service: Service;
  readonly #keeper: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: Interface;
  #pid: number | undefined;

  private constructor(service: Service, place: Place, keeper: ChildProcessByStdio<Writable, Readable, null>) {
    this.place = place;
    this.#service = service;
    this.#keeper = keeper;
    this.#lines = createInterface(keeper.stdout);
    this.#hold(false);
  }

  /** Starts one on a free port. @param program what the service's `find` gave. */
  static async start(service: Service, program: string): Promise<Instance> {
    const place = await newPlace(service);
    try {
      const launch = await service.prepare(program, place);
      // In a process group of its own, so that Ctrl-C reaches the tests first and the service ends after them.
      const keeper = spawn("/bin/sh", ["-c", KEEPER, place.folder, service.endedBy, launch.program, ...launch.args], {
        cwd: "/",
        detached: true,
        stdio: ["pipe", "pipe", "ignore"],
        env: { ...environmentAt(place), ...launch.env },
      });
      const instance = new Instance(service, place, keeper);
      try {
        await instance.restart();
        return instance;
      } catch (error) {
        await instance.stop();
        throw error;
      }
    } catch (error) {
      await rm(place.folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** @throws while it is killed. */
  get pid(): number {
    if (this.#pid === undefined) throw new Error(`${this.#service.name} does not run`);
    return this.#pid;
  }

  /** All that it printed so far. */
  log(): Promise<string> {
    return logOf(this.place);
  }

  /** SIGSTOP: it keeps its connections, takes new ones, and says nothing. */
  pause(): void {
    process.kill(this.pid, "SIGSTOP");
  }

  /** SIGCONT. */
  resume(): void {
    process.kill(this.pid, "SIGCONT");
  }

  /** SIGKILL, then waits for the end. */
  async kill(): Promise<void> {
    if (this.#pid === undefined) return;
    this.#pid = undefined;
    await this.#tell("kill");
  }

  /** Kills it if it runs, then starts it on the same port with the same data, and waits until it is ready. */
  async restart(): Promise<void> {
    await this.kill();
    this.#pid = Number(await this.#tell("start"));
    await untilReady(this.#service, this.place, this.#pid);
  }

  /** Ends it and removes its data. */
  async stop(): Promise<void> {
    if (this.#keeper.exitCode !== null) return;
    this.#hold(true);
    const ended = once(this.#keeper, "exit");
    this.#keeper.stdin.end();
    await ended;
  }

  async #tell(word: string): Promise<string> {
    this.#hold(true);
    const answer = once(this.#lines, "line");
    this.#keeper.stdin.write(`${word}\n`);
    const [line] = await answer;
    this.#hold(false);
    return String(line);
  }

  /** Whether this process stays for its sake: it does not while nothing is asked of it. */
  #hold(held: boolean): void {
    for (const handle of [this.#keeper, this.#keeper.stdin, this.#keeper.stdout]) {
      if (handle !== this.#keeper && !(handle instanceof Socket)) continue;
      if (held) handle.ref();
      else handle.unref();
    }
  }
}
