import { constants, existsSync } from "node:fs";
import { access, chmod, mkdir, realpath } from "node:fs/promises";
import { dirname } from "node:path";
import { ConfigError } from "./errors.ts";

/**
 * Makes the data dir where it is not there. Whoever comes first makes it, and its mode must suit all that will lie in it.
 * @returns its real path. @throws ConfigError when it cannot be made.
 */
export async function makeDataDir(path: string): Promise<string> {
  try {
    const made = await mkdir(path, { recursive: true });
    // Postgres' account must be able to pass through, whatever the umask; what is secret inside is closed by itself.
    const mode = process.getuid?.() === 0 ? 0o711 : 0o700;
    for (let folder = path; made !== undefined && folder.startsWith(made); folder = dirname(folder)) {
      await chmod(folder, mode);
    }
    return await realpath(path);
  } catch (cause) {
    throw new ConfigError(`the data dir ${path} cannot be made: ${await reasonOf(cause, path)}`, {
      hint: "Choose another with TINTYPE_DATA_DIR, or give this user the right to write there.",
      cause,
    });
  }
}

/** In words; Node says ENOENT for a folder that cannot be made because the disk is read-only. */
async function reasonOf(cause: unknown, path: string): Promise<string> {
  let existing = dirname(path);
  while (!existsSync(existing)) existing = dirname(existing);
  const refusal = await access(existing, constants.W_OK).then(
    () => cause,
    (error: unknown) => error,
  );
  switch (refusal instanceof Error && "code" in refusal ? refusal.code : "") {
    case "EEXIST":
    case "ENOTDIR":
      return "a file lies in its way";
    case "EROFS":
      return `${existing} is read-only`;
    case "EACCES":
    case "EPERM":
      return `this user may not write in ${existing}`;
    default:
      return refusal instanceof Error ? refusal.message : String(refusal);
  }
}
