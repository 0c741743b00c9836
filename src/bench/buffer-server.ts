/** The process of the bare reference: a Fastify with one route that sends the bytes that it is given. */
import { fastify } from "fastify";
import { beReference } from "./reference-process.ts";

const app = fastify();
await beReference((body) => {
  app.get("/", (_request, reply) => {
    reply.header("content-type", "application/json; charset=utf-8").send(body);
  });
  return app.listen({ host: "127.0.0.1", port: 0 });
});
process.exit();
