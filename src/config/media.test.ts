import t from "tap";
import { load } from "../../test/support/product/config.ts";

t.test("as many decoders as cores and memory have room for", async (t) => {
  const GIB = 1024 ** 3;
  for (const [cores, memory, decoder_memory, expected] of [
    [8, 64 * GIB, "1gb", 8],
    [8, 8 * GIB, "1gb", 5],
    [8, 8 * GIB, "2gb", 2],
    [8, 0.5 * GIB, "1gb", 1],
    [2000, 4096 * GIB, "1gb", 1024],
  ] as const) {
    const env = { TINTYPE_MEDIA_DECODER_MEMORY: decoder_memory };
    const { config } = load({ env, machine: { cores, memory } });
    t.equal(config.worker.concurrency, expected, `${cores} cores, ${memory} bytes`);
  }
  const asked = load({ env: { TINTYPE_WORKER_CONCURRENCY: "7" }, machine: { cores: 2, memory: GIB } });
  t.equal(asked.config.worker.concurrency, 7, "unless the operator says so");
});
