import { connect, type Socket } from "node:net";
import { OperationError } from "../../errors.ts";

/** Called with status 0 when the connection was lost before its answer came. */
export type OnAnswer = (status: number, body: Buffer | null) => void;

const HEAD_END = Buffer.from("\r\n\r\n");
/** What is read at once. */
const CHUNK = 64 * 1024;

/**
 * A keep-alive connection of HTTP/1.1 with one request under way. It reads status and length, and nothing else.
 *
 * Measured on bodies of 20 KB from a bare Fastify, 32 connections: undici's dispatch took 45 µs of processor time a request and
 * was itself the bound at 20,700 a second; this takes 21 µs.
 */
export class Connection {
  readonly #address: { host: string; port: number };
  #socket: Socket;
  #opened: Promise<void>;
  #answered: OnAnswer | null = null;
  /** The beginning of a head whose end has not come yet. */
  #head: Buffer = Buffer.alloc(0);
  #status = 0;
  /** Bytes of the body that are still to come. */
  #left = 0;
  #body: Buffer[] | null = null;
  #closed = false;

  constructor(address: { host: string; port: number }) {
    this.#address = address;
    [this.#socket, this.#opened] = this.#connect();
  }

  /** @throws OperationError when nobody listens. */
  opened(): Promise<void> {
    return this.#opened;
  }

  /** @param keep whether the body is wanted; else it is thrown away as it comes. */
  send(request: Buffer, keep: boolean, answered: OnAnswer): void {
    this.#answered = answered;
    this.#body = keep ? [] : null;
    this.#socket.write(request);
  }

  close(): void {
    this.#closed = true;
    this.#answered = null;
    this.#socket.destroy();
  }

  #connect(): [Socket, Promise<void>] {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // One for all that is read, not one for each.
    const buffer = Buffer.allocUnsafe(CHUNK);
    const socket = connect({
      ...this.#address,
      noDelay: true,
      onread: {
        buffer,
        callback: (length) => {
          this.#read(buffer.subarray(0, length));
          return true;
        },
      },
    });
    socket.on("connect", resolve);
    socket.on("error", (error) => {
      reject(new OperationError(`${this.#address.host}:${this.#address.port} does not answer: ${error.message}`));
    });
    socket.on("close", () => this.#lost());
    return [socket, promise];
  }

  #read(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left === 0) {
        const rest = this.#readHead(chunk, at);
        if (rest === null) return;
        at = rest;
      }
      const taken = Math.min(this.#left, chunk.length - at);
      this.#body?.push(Buffer.from(chunk.subarray(at, at + taken)));
      at += taken;
      this.#left -= taken;
      if (this.#left === 0) this.#answer();
    }
  }

  /** @returns where the body begins in the chunk; null when the head does not end in it. */
  #readHead(chunk: Buffer, at: number): number | null {
    const before = this.#head.length;
    // A copy, as the chunk's bytes are overwritten by the next.
    const head = before > 0 ? Buffer.concat([this.#head, chunk.subarray(at)]) : chunk.subarray(at);
    const end = head.indexOf(HEAD_END);
    if (end < 0) {
      this.#head = Buffer.from(head);
      return null;
    }
    const text = head.toString("latin1", 0, end);
    this.#head = Buffer.alloc(0);
    this.#status = Number(text.slice(9, 12));
    const length = /\r\ncontent-length: *(\d+)/i.exec(text)?.[1];
    if (length === undefined && this.#status !== 204 && this.#status !== 304) {
      this.#socket.destroy(new Error("an answer without a length"));
      return null;
    }
    this.#left = Number(length ?? 0);
    const body = at + end + HEAD_END.length - before;
    if (this.#left > 0) return body;
    this.#answer();
    return chunk.length;
  }

  #answer(): void {
    const [answered, body] = [this.#answered, this.#body];
    this.#answered = null;
    this.#body = null;
    answered?.(this.#status, body && Buffer.concat(body));
  }

  #lost(): void {
    if (this.#closed) return;
    this.#head = Buffer.alloc(0);
    this.#left = 0;
    [this.#socket, this.#opened] = this.#connect();
    // Who cannot be reached again is found out by what is sent next.
    this.#opened.catch(() => undefined);
    this.#status = 0;
    this.#answer();
  }
}
