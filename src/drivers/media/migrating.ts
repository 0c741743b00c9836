import type { MediaStore } from "../../ports/media.ts";

/**
 * Two stores as one, while everything is moved from `old` to `next`: what is put goes to `next`, what is not there yet is
 * read from `old`. `old` keeps what it has, but for what is removed.
 *
 * Removed is from `old` first: whoever copies an object looks there once more after it, and takes its copy back.
 */
export function migratingStore(next: MediaStore, old: MediaStore): MediaStore {
  return {
    putFile: (key, path) => next.putFile(key, path),
    read: async (key, range) => (await next.read(key, range)) ?? old.read(key, range),
    size: async (key) => (await next.size(key)) ?? old.size(key),
    localFile: async (key) => (await next.localFile(key)) ?? old.localFile(key),
    address: async (key, options) =>
      (await next.size(key)) === null ? old.address(key, options) : next.address(key, options),

    async remove(keys) {
      await old.remove(keys);
      await next.remove(keys);
    },

    async *list(folder) {
      // The old one first: what is copied meanwhile stays there too, and so is told once.
      yield* old.list(folder);
      for await (const object of next.list(folder)) if ((await old.size(object.key)) === null) yield object;
    },

    sweep: async (age) => (await next.sweep(age)) + (await old.sweep(age)),
    isEmpty: async () => (await next.isEmpty()) && old.isEmpty(),

    async check() {
      await next.check();
      // Nothing is put there any more: one may move away from a disk that is full.
      await old.isEmpty();
    },

    async close() {
      await next.close();
      await old.close();
    },
  };
}
