import type { Readable } from "node:stream";

/** Byte range, both ends inclusive, as in HTTP. */
export interface ByteRange {
  start: number;
  end: number;
}

export interface MediaObject {
  /** Size of the whole object in bytes, whatever range was asked for. */
  size: number;
  /** The bytes asked for. Whoever opens it must read it to the end or destroy it. */
  body: Readable;
}

/** An object as the store itself lists it. */
export interface ListedObject {
  key: string;
  bytes: number;
  modified_at: Date;
}

/** What the rows say of an object; null where they do not know. */
export interface KnownObject {
  key: string;
  bytes: number | null;
  sha256: Buffer | null;
}

/**
 * Keeps originals and renditions under keys such as `renditions/7f/<medium>/large.webp`: lower-case letters, digits,
 * `-`, `.` and `/`, no empty or dotted part.
 *
 * The contract, the same for every driver:
 * - `putFile` has the object durable when it resolves: a crash of the machine right after loses nothing. It replaces
 *   what was there, and a reader sees the old object or the new one, never a mixture or a part.
 * - `putFile` may move the local file instead of copying it; afterwards the file is the store's.
 * - `remove` of what is not there is no error, so that a job that deletes may run twice.
 * - A store that is out of reach or full rejects with a DependencyError. So does one that went away (an unmounted disk):
 *   it is never taken for one without objects, and nothing is put where it was.
 * - Where the store is there and one object cannot be read, `read` rejects, or its body fails, with an UnreadableObjectError.
 */
export interface MediaStore {
  putFile(key: string, path: string): Promise<void>;
  /** @returns null when there is no such object. */
  read(key: string, range?: ByteRange): Promise<MediaObject | null>;
  /** @returns the object's size in bytes, without opening it; null when there is no such object. */
  size(key: string): Promise<number | null>;
  /** A local file with the object's bytes, valid until `release`. @returns null when there is no such object. */
  localFile(key: string): Promise<{ path: string; release(): Promise<void> } | null>;
  /**
   * Where the object can be fetched without this program, for so many seconds, by whoever has the address.
   * @param options.from when these begin, in whole seconds: by a clock that all servers share, and not by that of this one.
   * @param options.reader who reaches the store: clients from outside, or a proxy beside us.
   * @param options.headers what the store answers with.
   * @returns null where the store has no addresses. Whether the object is there is not asked.
   */
  address(
    key: string,
    options: {
      method: "GET" | "HEAD";
      from: Date;
      seconds: number;
      reader: "client" | "proxy";
      headers: { "content-type": string; "cache-control": string };
    },
  ): Promise<string | null>;
  remove(keys: readonly string[]): Promise<void>;
  /**
   * Every object below a folder such as `renditions/7f/`, or "" for all, in no order, with few of them in memory at a time.
   * What is put or removed meanwhile may be told or not.
   */
  list(folder: string): AsyncIterable<ListedObject>;
  /** Removes what puts that were killed more than `age` ms ago left behind, which no `list` shows. @returns how many. */
  sweep(age: number): Promise<number>;
  /** Whether it holds no object at all; what is being put just now may count or not. */
  isEmpty(): Promise<boolean>;
  /** Writes something and removes it. Rejects when that cannot be done; for readiness and `doctor`. */
  check(): Promise<void>;
  close(): Promise<void>;
}
