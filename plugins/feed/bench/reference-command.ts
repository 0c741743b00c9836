import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import { Flags } from "@oclif/core";
import { fastify, LogController } from "fastify";
import { Redis } from "ioredis";
import { beReference } from "../../../src/bench/reference-process.ts";
import { BaseCommand } from "../../../src/cli/base.ts";
import { allFeatures, featuresOf } from "../../../src/cli/program.ts";
import type { App } from "../../../src/http/types.ts";

/** As many bytes as the entries of a page and some more take. */
const ROUND_TRIP_BYTES = 24 * 30;
const KEY = "bench:reference";

/**
 * The reference of `feed_page_vs_same_auth`, a process that `bench feed` starts: a Fastify with the product's own authentication
 * and one round trip to Redis before it sends the bytes that it is given. A command, since only the composition root knows the
 * feature that authenticates.
 */
export class BenchReference extends BaseCommand {
  static override hidden = true;
  static override summary = "serve what `bench feed` compares with; it starts this itself";
  static override flags = {
    redis: Flags.string({ description: "URL of the Redis that is asked before each answer", required: true }),
  };

  override async run(): Promise<void> {
    const { flags } = await this.parse(BenchReference);
    const loaded = await this.loadConfig(flags);
    const [{ openDeps }, { requireAuthentication }] = await Promise.all([
      import("../../../src/deps.ts"),
      import("../../../src/http/auth.ts"),
    ]);
    const features = featuresOf(loaded);
    const log = await this.createLog(loaded);
    // As a worker that takes no job: a command is told of nothing, and so keeps no session that it has looked up.
    const deps = await openDeps({ ...loaded, log, role: "worker", features, allFeatures: allFeatures() });
    const redis = new Redis(flags.redis);
    await redis.set(KEY, Buffer.alloc(ROUND_TRIP_BYTES));
    const app: App = fastify({
      loggerInstance: log,
      logController: new LogController({ disableRequestLogging: true }),
    }).withTypeProvider<TypeBoxTypeProvider>();
    app.decorateRequest("viewer", null);
    requireAuthentication(app, deps.context, features);
    await beReference((body) => {
      app.get("/", async (_request, reply) => {
        await redis.getBuffer(KEY);
        return reply.header("content-type", "application/json; charset=utf-8").send(body);
      });
      return app.listen({ host: "127.0.0.1", port: 0 });
    });
    await app.close();
    redis.disconnect();
    await deps.close();
  }
}
