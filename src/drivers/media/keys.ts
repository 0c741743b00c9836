const KEY = /^[a-z0-9-]+(\/[a-z0-9-]+(\.[a-z0-9]+)?)+$/;
const FOLDER = /^([a-z0-9-]+\/)*$/;

/** Whether it is the key of an object, as src/ports/media.ts says. */
export function isKey(key: string): boolean {
  return KEY.test(key);
}

export function assertKey(key: string): void {
  if (!isKey(key)) throw new Error(`not a media key: ${key}`);
}

export function assertFolder(folder: string): void {
  if (!FOLDER.test(folder)) throw new Error(`not a folder of media keys: ${folder}`);
}
