/** What a reference's process is told, and what it answers. */
export type ToReference = { body: Buffer } | { usage: true };
export type FromReference = { url: string } | { cpuSeconds: number };

/** Makes this process a reference: it is told which bytes to send, listens, and says now and then how much it has worked. */
export async function beReference(listen: (body: Buffer) => Promise<string>): Promise<void> {
  const { promise: left, resolve: leave } = Promise.withResolvers<void>();
  const answer = (message: FromReference) => process.send?.(message);
  process.on("message", async (message: ToReference) => {
    if ("body" in message) answer({ url: await listen(message.body) });
    else {
      const { user, system } = process.cpuUsage();
      answer({ cpuSeconds: (user + system) / 1e6 });
    }
  });
  process.once("disconnect", leave);
  await left;
}
