import type { WriteStream } from "node:tty";

/** How often a terminal's line changes, and a line is added where there is no terminal. Milliseconds. */
const EVERY = { terminal: 100, elsewhere: 10_000 };

/**
 * Says on stderr what is being done: on a terminal one line that changes, elsewhere a line for each thing that is begun
 * (the words before a colon) and one every ten seconds.
 */
export function createProgress(stream: WriteStream = process.stderr): { say(doing: string): void; end(): void } {
  const terminal = stream.isTTY === true;
  let next = 0;
  let topic = "";
  return {
    say(doing) {
      const begun = doing.split(":", 1)[0] ?? "";
      if (begun === topic && performance.now() < next) return;
      topic = begun;
      next = performance.now() + (terminal ? EVERY.terminal : EVERY.elsewhere);
      stream.write(terminal ? `\r\x1b[K${doing.slice(0, stream.columns - 1)}` : `${doing}\n`);
    },
    end() {
      if (terminal) stream.write("\r\x1b[K");
    },
  };
}
