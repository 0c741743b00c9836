import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { v4 as randomId } from "uuid";
import type { Context } from "../../src/context.ts";
import { DependencyError, OperationError, UnreadableObjectError } from "../../src/errors.ts";
import type { Run } from "../../src/jobs/job.ts";
import { isOutage } from "../../src/jobs/queue.ts";
import { openStaging } from "../../src/staging.ts";
import type { TakeoutEntry } from "../../src/takeout.ts";
import { writeArchive } from "./archive.ts";
import { exportKey } from "./exports.ts";
import { readme } from "./readme.ts";
import { hasRoom, removeStaged, stagedName } from "./staging.ts";
import { isReady, markReady, type Owner, ownerOfUnfinished } from "./store.ts";
import { failExport } from "./sweep.ts";

/** The account is being deleted, or the export was withdrawn or begun anew: nobody waits for this one. */
class UnwantedError extends Error {}

const MAKE_SPACE = "Make space on it, or give the data dir a larger disk. An archive leaves 1 GiB or 5 % of it free.";

/**
 * Makes an archive of what every feature keeps of a person and puts it into the store. Safe to run twice: whoever finds
 * the export finished or gone removes its own. On the last try a failure is written down before it is thrown, and after
 * the staged file has gone: whoever asks anew then has its room.
 *
 * A disk that is nearly full is waited for. An archive that would fill it is a failure: to wait would be to write as much
 * again and again.
 */
export async function makeExport(context: Context, id: string, run: Run): Promise<void> {
  const { config, db, media } = context;
  try {
    const bytes = await storeArchive(context, id, run);
    if (!(await markReady(db, id, { bytes, lifetime: config.exports.lifetime }))) throw new UnwantedError();
  } catch (error) {
    if (error instanceof UnwantedError) {
      if (!(await isReady(db, id))) await media.remove([exportKey(id)]);
      return;
    }
    // Of one damaged object it cannot be waited for that it mends itself.
    const failure =
      error instanceof UnreadableObjectError ? new OperationError(error.message, { cause: error }) : error;
    if (run.last && !isOutage(failure) && !run.signal.aborted) await failExport(context, id);
    throw failure;
  }
}

/** Leaves nothing in the staging folder, however it ends. @returns the size in bytes. */
async function storeArchive(context: Context, id: string, run: Run): Promise<number> {
  const { config, db, media } = context;
  // What a try left behind that was killed.
  await removeStaged(config, async () => new Set([id]));
  const folder = await openStaging(config);
  const path = join(folder, stagedName(id, randomId()));
  const requireWanted = async (): Promise<Owner> => {
    run.signal.throwIfAborted();
    const owner = await ownerOfUnfinished(db, id);
    if (!owner) throw new UnwantedError();
    return owner;
  };
  const goOn = async () => {
    await requireWanted();
    if (!(await hasRoom(folder))) {
      throw new OperationError(`the archive would fill the disk of ${folder}`, { hint: MAKE_SPACE });
    }
  };
  try {
    const owner = await requireWanted();
    if (!(await hasRoom(folder))) {
      throw new DependencyError(`the disk of ${folder} is nearly full`, { hint: MAKE_SPACE });
    }
    const bytes = await writeArchive(path, entriesOf(context, owner), { signal: run.signal, goOn });
    await requireWanted();
    await media.putFile(exportKey(id), path);
    return bytes;
  } finally {
    await rm(path, { force: true }).catch((error: unknown) => {
      run.log.warn({ err: error }, "a try has left a file behind");
    });
  }
}

async function* entriesOf(context: Context, owner: Owner): AsyncGenerator<TakeoutEntry> {
  const text = readme(owner.username, new Date());
  yield { path: "README.txt", packed: false, open: async () => Readable.from([text]) };
  yield* context.kept.takeout(owner.id);
}
