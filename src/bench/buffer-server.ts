/** The process of the bare reference: a Fastify with one route that sends the bytes that it is given. */
import { fastify } from "fastify";

process.on("message", async (body: Buffer) => {
  const app = fastify();
  app.get("/", (_request, reply) => {
    reply.header("content-type", "application/json; charset=utf-8").send(body);
  });
  process.send?.(await app.listen({ host: "127.0.0.1", port: 0 }));
});
process.on("disconnect", () => process.exit());
