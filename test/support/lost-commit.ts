import { once } from "node:events";
import { connect, createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { Test } from "tap";

/** A way to Postgres that breaks, once it is armed, behind the first COMMIT of a post: it arrives, and its answer does not. */
export async function commitLosingWay(t: Test, target: string) {
  const { hostname, port } = new URL(target);
  let armed = false;
  let lost = 0;
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    let said = "";
    near.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString("latin1")).slice(-20_000);
      far.write(chunk);
      if (!armed || !/insert into "posts"[\s\S]*commit\0/i.test(said)) return;
      armed = false;
      lost += 1;
      near.resetAndDestroy();
      delay(500).then(() => far.destroy());
    });
    far.on("data", (chunk: Buffer) => near.write(chunk));
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on("error", () => undefined).on("close", () => delay(500).then(() => other.destroy()));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const address = server.address();
  const url = new URL(target);
  url.host = `127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
  return {
    url: url.href,
    arm: () => {
      armed = true;
    },
    lost: () => lost,
  };
}
