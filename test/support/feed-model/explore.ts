import type { Answer, Json } from "../client.ts";
import { CHANGES, copyOf, ordersOf, shown, storedGraph, told } from "../graph-model.ts";
import { playRounds } from "../play.ts";
import { checkPage, type Read, type Walk, walkOn } from "./check.ts";
import { type Done, Doubts, keysOf } from "./doubts.ts";
import { performWith } from "./model.ts";
import { type Disturbance, type PersonStep, type Round, rounds } from "./steps.ts";
import { startWorld, type World, type WorldOptions } from "./world.ts";

interface Test {
  teardown(end: () => unknown): void;
  comment(...message: unknown[]): void;
}

export interface Exploration extends WorldOptions {
  /** How many times rounds are played and all feeds then compared whole; of one seed the rounds are the same. */
  runs: number;
  roundsEach: number;
  disturbances: readonly Disturbance["kind"][];
  /** What the test itself can do to the service. */
  others?: Record<string, () => Promise<unknown>>;
  seed: number;
  /** From so many followers on an author is pulled. */
  threshold: number;
}

/** What has happened, so that a test can see that it was about something. */
export interface Explored {
  pages: number;
  posts: number;
  /** Pages that were refused with 503 and Retry-After. */
  refused: number;
  /** Authors that went from pushed to pulled with a post, and back. */
  crossings: { up: number; down: number };
  /** Answers that nobody heard, because the server was killed. */
  unheard: number;
}

/** Milliseconds after which every server knows of a change of a post or an account, twice what is promised. */
const GRACE = 2_000;
const HISTORY = 25;

/** Plays rounds and holds every answer to the model. @throws with the last rounds where one is wrong. */
export async function explore(t: Test, options: Exploration): Promise<Explored> {
  t.comment(`TINTYPE_TEST_SEED=${options.seed}`);
  const world = await startWorld(t, {
    ...options,
    settings: { ...options.settings, TINTYPE_FEED_FANOUT_THRESHOLD: String(options.threshold) },
  });
  const explorer = new Explorer(world, options);
  await explorer.begin();
  const { people, disturbances, others = {} } = options;
  await playRounds(explorer, rounds(people, disturbances, Object.keys(others)), options);
  return explorer.explored;
}

class Explorer {
  readonly history: string[] = [];
  readonly explored: Explored = { pages: 0, posts: 0, refused: 0, crossings: { up: 0, down: 0 }, unheard: 0 };
  readonly #world: World;
  readonly #options: Exploration;
  readonly #doubts = new Doubts();
  readonly #walks = new Map<string, Walk | null>();
  readonly #pulled = new Set<string>();

  constructor(world: World, options: Exploration) {
    this.#world = world;
    this.#options = options;
  }

  /** Most follow each other, so that whatever they do next is seen by somebody. */
  async begin(): Promise<void> {
    const { people } = this.#options;
    for (const [one, who] of people.entries()) {
      for (const [other, whom] of people.entries()) {
        if (one === other || (one + other) % 3 === 0) continue;
        this.#world.model.perform({ who, change: "follow", whom });
        await this.#world.ask(who, 0, "POST", `/users/${whom}/follow`);
      }
    }
  }

  async play({ steps, disturbance }: Round): Promise<void> {
    const chosen = this.#possible(steps, disturbance);
    const [done] = await Promise.all([
      Promise.all(chosen.map((step) => this.#carryOut(step))),
      this.#disturb(disturbance),
    ]);
    const told = done.map(({ step, postId, answer }) => `${JSON.stringify({ ...step, postId })} → ${answer?.status}`);
    this.history.push([...told, ...(disturbance ? [JSON.stringify(disturbance)] : [])].join("; "));
    this.history.splice(0, this.history.length - HISTORY);

    const carriedOut = done.filter((one) => one !== null);
    const during = this.#doubtDuring(carriedOut, disturbance);
    await this.#learnGraph(carriedOut);
    await this.#learnPosts(carriedOut);
    this.#learnDisturbance(disturbance);
    this.#doubtAfter(carriedOut, disturbance);
    for (const { step, time, answer } of carriedOut) {
      if (step.step === "read") this.#learnPage(step, time, answer, during);
    }
    await this.#lookAgain(done);
  }

  /** What has been answered is so on the very next read: of the graph on every server, of a post on the one that was told. */
  async #lookAgain(done: readonly Done[]): Promise<void> {
    const { people } = this.#options;
    const reads = done.flatMap(({ step }) => {
      if (step.step === "read" || step.step === "publish") return [];
      if (step.step !== "graph") return people.map((who) => ({ who, server: step.server }));
      const others = "whom" in step.operation ? [step.operation.whom] : [];
      return [step.who, ...others].map((who) => ({ who, server: step.server + 1 }));
    });
    const seen = reads.filter(({ who }) => !this.#world.model.suspended.has(who));
    await Promise.all(
      seen.map(async ({ who: viewer, server: some }) => {
        const [server, limit, time] = [some % this.#world.servers.length, 20, Date.now()];
        const answer = await this.#world.ask(viewer, server, "GET", `/feed?limit=${limit}`);
        if (!answer) throw new Error("nobody is killed now");
        if (!this.#isRefusal(answer)) this.#check({ viewer, server, limit, time, walk: null, body: answer.body });
      }),
    );
  }

  /** One step a person, of those who can do something, and not with somebody who is just being suspended. */
  #possible(steps: readonly PersonStep[], disturbance: Disturbance | null): PersonStep[] {
    const { suspended } = this.#world.model;
    const busy = new Set(suspended);
    const changing = disturbance && "who" in disturbance ? disturbance.who : null;
    if (changing) busy.add(changing);
    return steps.filter((step) => {
      if (busy.has(step.who)) return false;
      if (step.step === "graph" && "whom" in step.operation && step.operation.whom === changing) return false;
      busy.add(step.who);
      return true;
    });
  }

  async #carryOut(step: PersonStep): Promise<Done> {
    const server = step.server % this.#world.servers.length;
    const ask = (method: string, path: string, options?: Parameters<World["ask"]>[4]) =>
      this.#world.ask(step.who, server, method, path, options);
    const time = Date.now();
    switch (step.step) {
      case "graph": {
        const { operation } = step;
        if (!("whom" in operation)) {
          return {
            step,
            time,
            answer: await ask("PATCH", "/me", { json: { is_private: operation.change === "private" } }),
          };
        }
        const [method, path] = CHANGES[operation.change];
        return { step, time, answer: await ask(method, path.replace("NAME", operation.whom)) };
      }
      case "publish":
        return { step, time, answer: await ask("POST", "/posts", { form: this.#world.postForm(step.caption) }) };
      case "read": {
        const walk = step.fresh ? null : this.#walks.get(step.who);
        const cursor = walk ? `&cursor=${walk.cursor}` : "";
        return { step, time, answer: await ask("GET", `/feed?limit=${step.limit}${cursor}`) };
      }
      default: {
        const posts = this.#world.model.postsOf(step.who);
        const postId = posts[step.index % posts.length]?.id ?? "";
        const answer =
          step.step === "delete"
            ? await ask("DELETE", `/posts/${postId}`)
            : await ask("PATCH", `/posts/${postId}`, { json: { caption: step.caption } });
        return { step, postId, time, answer };
      }
    }
  }

  async #disturb(disturbance: Disturbance | null): Promise<void> {
    const { servers, workers, others } = this.#options;
    if (disturbance === null) return;
    switch (disturbance.kind) {
      case "kill server":
        return this.#world.killServer(disturbance.index % servers);
      case "kill worker":
        return this.#world.killWorker(disturbance.index % workers);
      case "repeat jobs":
        await this.#world.repeatJobs();
        return;
      case "rebuild":
        await this.#command("fanout", "rebuild");
        return;
      case "other":
        await others?.[disturbance.name]?.();
        return;
      default:
        await this.#command("users", disturbance.kind, disturbance.who);
    }
  }

  /** @returns what it printed. @throws unless it exits with 0. */
  async #command(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.#world.command(...args);
    if (code !== 0) throw new Error(`${args.join(" ")}: ${code} ${stdout} ${stderr}`);
    return stdout;
  }

  /** Of one change it is known what it does; of several, that they happened in some order, and the rows tell which. */
  async #learnGraph(done: readonly Done[]): Promise<void> {
    const { model, sql } = this.#world;
    const changes = done.flatMap(({ step, answer }) =>
      step.step === "graph" ? [{ operation: step.operation, answer }] : [],
    );
    if (changes.length === 0) return;
    if (changes.some(({ answer }) => answer === null)) {
      model.graph = await storedGraph(sql);
      return;
    }
    const said = JSON.stringify(changes.map(({ operation, answer }) => answer && told(operation, answer)));
    const outcomes = [...ordersOf([...changes.keys()])].flatMap((order) => {
      const graph = copyOf(model.graph);
      const answers: unknown[] = [];
      for (const index of order) {
        const { operation } = changes[index] as (typeof changes)[number];
        answers[index] = performWith(graph, model.suspended, operation);
      }
      return JSON.stringify(answers) === said ? [graph] : [];
    });
    const ends = new Map(outcomes.map((graph) => [shown(graph), graph]));
    // Whoever went public lets a job approve those who wait.
    const isCertain = ends.size === 1 && !changes.some(({ operation }) => operation.change === "public");
    const end = isCertain ? [...ends.values()][0] : ends.get(shown(await storedGraph(sql)));
    if (!end) throw new Error(`no order explains the answers ${said}`);
    model.graph = end;
  }

  async #learnPosts(done: readonly Done[]): Promise<void> {
    const { model, sql } = this.#world;
    for (const { step, postId = "", answer } of done) {
      if (answer === null) this.explored.unheard++;
      if (step.step === "publish" && answer) {
        if (answer.status !== 202) throw new Error(`publish: ${answer.status} ${answer.bytes}`);
        this.#posted(String(answer.body.post_id), step.who, step.caption);
      } else if (step.step === "publish") {
        const { rows } = await sql.query(
          "SELECT posts.id FROM posts JOIN users ON users.id = user_id WHERE username = $1 AND posts.id <> ALL ($2)",
          [step.who, [...model.posts.keys()]],
        );
        for (const { id } of rows) this.#posted(id, step.who, step.caption);
      } else if ((step.step === "delete" || step.step === "caption") && postId) {
        const post = model.posts.get(postId);
        if (!post) throw new Error(`${postId} is not known`);
        if (answer && answer.status !== (step.step === "delete" ? 204 : 200)) {
          throw new Error(`${step.step} ${postId}: ${answer.status} ${answer.bytes}`);
        }
        const rows = answer ? null : (await sql.query("SELECT caption FROM posts WHERE id = $1", [postId])).rows;
        if (step.step === "delete") post.deleted = rows === null || rows.length === 0;
        else post.caption = rows === null ? step.caption : (rows[0]?.caption ?? null);
      }
    }
  }

  #posted(id: string, author: string, caption: string): void {
    const { model } = this.#world;
    model.posts.set(id, { id, author, caption, published_at: null, settled: false, deleted: false });
    this.explored.posts++;
    const followers = model.followersOf(author);
    const { threshold } = this.#options;
    if (!this.#pulled.has(author) && followers >= threshold) {
      this.#pulled.add(author);
      this.explored.crossings.up++;
    } else if (this.#pulled.has(author) && followers < threshold * 0.9) {
      this.#pulled.delete(author);
      this.explored.crossings.down++;
    }
  }

  #learnDisturbance(disturbance: Disturbance | null): void {
    const { suspended } = this.#world.model;
    if (disturbance?.kind === "suspend") suspended.add(disturbance.who);
    if (disturbance?.kind === "unsuspend") suspended.delete(disturbance.who);
  }

  /** What the pages of this round may show either way. */
  #doubtDuring(done: readonly Done[], disturbance: Disturbance | null): Doubts {
    const during = new Doubts();
    for (const key of keysOf(done, disturbance)) during.add(key.key, Number.POSITIVE_INFINITY);
    return during;
  }

  /** Of posts and accounts other servers than the one that took the change learn a little later. */
  #doubtAfter(done: readonly Done[], disturbance: Disturbance | null): void {
    const until = Date.now() + GRACE;
    for (const { key, later, server } of keysOf(done, disturbance)) {
      const { length } = this.#world.servers;
      if (later && (server === null || length > 1))
        this.#doubts.add(key, until, server === null ? undefined : server % length);
    }
  }

  #learnPage(step: PersonStep & { step: "read" }, time: number, answer: Answer | null, during: Doubts): void {
    if (answer === null) return;
    if (this.#isRefusal(answer)) return;
    const read = {
      viewer: step.who,
      server: step.server % this.#world.servers.length,
      limit: step.limit,
      time,
      walk: step.fresh ? null : (this.#walks.get(step.who) ?? null),
      body: answer.body,
    };
    this.#check(read, during);
    this.#walks.set(step.who, walkOn(read));
  }

  /** @throws for any other failure than being told to come again. */
  #isRefusal({ status, headers, bytes }: Answer): boolean {
    if (status === 200) return false;
    if (status !== 503 || !headers.has("retry-after")) throw new Error(`a feed: ${status} ${bytes}`);
    this.explored.refused++;
    return true;
  }

  #check(read: Read, during?: Doubts): void {
    const { model } = this.#world;
    this.explored.pages++;
    checkPage(model, { any: (...asked) => this.#doubts.any(...asked) || (during?.any(...asked) ?? false) }, read);
  }

  /** Waits until nothing is left to do, and compares each viewer's whole feed with the model's. */
  async compareAll(): Promise<void> {
    const { model, sql, servers } = this.#world;
    await this.#world.jobsDone();
    const { rows } = await sql.query("SELECT id, status, published_at FROM posts");
    const stored = new Map(rows.map((row) => [String(row.id), row]));
    for (const post of model.posts.values()) {
      if (post.deleted || post.settled) continue;
      const row = stored.get(post.id);
      if (row?.status !== "published") throw new Error(`${post.id} is ${row?.status}`);
      post.published_at = row.published_at.toISOString();
      post.settled = true;
    }
    await new Promise((resolve) => setTimeout(resolve, Math.max(this.#doubts.latest - Date.now(), 0)));
    const graph = shown(await storedGraph(sql));
    if (graph !== shown(model.graph)) throw new Error(`the rows say ${graph}, not ${shown(model.graph)}`);

    for (const [index, viewer] of this.#options.people.entries()) {
      if (model.suspended.has(viewer)) continue;
      const expected = model.feedOf(viewer).map(({ id }) => id);
      const found: string[] = [];
      let walk: Walk | null = null;
      for (let page = index; page === index || walk !== null; page++) {
        const [server, limit] = [page % servers.length, [100, 37, 64][page % 3] as number];
        const time = Date.now();
        const answer = await this.#world.ask(
          viewer,
          server,
          "GET",
          `/feed?limit=${limit}${walk ? `&cursor=${walk.cursor}` : ""}`,
        );
        if (answer?.status !== 200) throw new Error(`${viewer}'s feed: ${answer?.status} ${answer?.bytes}`);
        if (answer.body.degraded !== false) throw new Error(`${viewer}'s feed of server ${server} is degraded`);
        const read: Read = { viewer, server, limit, time, walk, body: answer.body };
        this.#check(read);
        found.push(...answer.body.items.map(({ id }: Json) => id));
        walk = walkOn(read);
      }
      if (String(found) !== String(expected)) throw new Error(`${viewer}'s feed is ${found}, not ${expected}`);
    }
    if (this.#options.settings.TINTYPE_REDIS_URL) await this.#verify();
    this.history.push("compared");
  }

  /** The operator's own command must find nothing either. */
  async #verify(): Promise<void> {
    const stdout = await this.#command("fanout", "verify", "--json");
    if (JSON.parse(stdout).differences.length > 0) throw new Error(`fanout verify exits 0 with ${stdout}`);
  }
}
