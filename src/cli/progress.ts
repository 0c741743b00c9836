import type { WriteStream } from "node:tty";

/** How often a terminal's line changes, and a line is added where there is no terminal. Milliseconds. */
const EVERY = { terminal: 100, elsewhere: 10_000 };
/** Characters. */
const BAR = 30;

/**
 * Says on stderr what is being done: on a terminal one line that changes. Elsewhere nothing for ten seconds, so that cron mails no
 * short run that went well; then a line every ten seconds, and one for each thing that is begun (the words before a colon).
 */
export function createProgress(stream: WriteStream = process.stderr): {
  say(doing: string): void;
  /** How much of a known amount is done: a bar on a terminal, elsewhere a percentage. */
  part(doing: string, done: number, total: number): void;
  end(): void;
} {
  const terminal = stream.isTTY === true;
  const silentUntil = terminal ? 0 : performance.now() + EVERY.elsewhere;
  let next = 0;
  let topic = "";
  const say = (doing: string) => {
    const now = performance.now();
    const begun = doing.split(":", 1)[0] ?? "";
    if (now < silentUntil || (begun === topic && now < next)) return;
    topic = begun;
    next = now + (terminal ? EVERY.terminal : EVERY.elsewhere);
    stream.write(terminal ? `\r\x1b[K${doing.slice(0, stream.columns - 1)}` : `${doing}\n`);
  };
  return {
    say,
    part(doing, done, total) {
      const share = total === 0 ? 1 : Math.min(1, done / total);
      say(`${doing}: ${terminal ? `${barOf(share)} ` : ""}${Math.floor(share * 100)} %, ${done} of ${total}`);
    },
    end() {
      if (terminal) stream.write("\r\x1b[K");
    },
  };
}

function barOf(share: number): string {
  const full = Math.floor(share * BAR);
  return `${"█".repeat(full)}${"░".repeat(BAR - full)}`;
}
