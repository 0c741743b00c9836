/** Started by ticket-cost.ts: asks for the feeds of those it is told, and says what came last. */
import type { Asked, Told } from "./protocol.ts";

process.on("message", async ({ url, tokens }: Asked) => {
  let told: Told = { status: 0, body: "" };
  for (const token of tokens) {
    const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    const body = await response.text();
    // Reading it is work for the server's process, of which only a page that is to be checked may cost some.
    told = { status: response.status, body: tokens.length === 1 ? body : "" };
  }
  process.send?.(told);
});
