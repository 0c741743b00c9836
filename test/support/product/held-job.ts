/** `node held-job.ts URL QUEUE`: a worker that says `held` when it has a job, and never gives it back: to be killed. */
import { startWorker, testJob } from "./jobs.ts";

const [url, name] = process.argv.slice(2);
if (!url || !name?.startsWith("test.")) throw new Error("usage: held-job.ts URL test.QUEUE");

const job = testJob({
  name: name as `test.${string}`,
  attempts: 3,
  handle: async () => {
    process.stdout.write("held\n");
    await new Promise(() => undefined);
  },
});
await startWorker({ teardown: () => undefined }, url, [job]);
