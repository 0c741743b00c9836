import type { Finding } from "./project.ts";
import type { TextFile } from "./text.ts";

/** As much of an oclif command class as is needed to judge a command line. */
export interface Command {
  readonly flags?: object;
  readonly baseFlags?: object;
  readonly enableJsonFlag?: boolean;
}

/** What a command line in the documentation may call. */
export interface Callable {
  /** Names under "scripts" of package.json. */
  readonly scripts: ReadonlySet<string>;
  /** "topic:command" → its class; undefined if the CLI could not be loaded. */
  readonly commands: Readonly<Record<string, Command>> | undefined;
}

const NPM_BUILTINS = new Set(["ci", "install", "exec", "link", "pack", "ls", "version"]);
/** These of npm's own commands need a script of that name. */
const NPM_SCRIPTS = new Set(["test", "start", "stop", "restart"]);

/** Every `npm …` and `npx tintype …` that a document shows in a code block or in backticks can be typed. */
export function checkCommands(documents: readonly TextFile[], callable: Callable): Finding[] {
  return documents.flatMap(({ path, text }) =>
    commandLines(text).flatMap(({ line, words }) => {
      const message = judge(words, callable);
      return message === undefined ? [] : [{ file: path, line, message }];
    }),
  );
}

interface CommandLine {
  readonly line: number;
  readonly words: readonly string[];
}

/** The simple commands in shell code blocks and in `backticks`, without prompts and variable assignments. */
function commandLines(markdown: string): CommandLine[] {
  const found: CommandLine[] = [];
  let fence: { shell: boolean } | undefined;
  let continued = "";
  for (const [index, content] of markdown.split("\n").entries()) {
    const marker = /^\s*(?:```|~~~)\s*(\w*)/.exec(content);
    if (marker) {
      fence = fence ? undefined : { shell: /^(?:|sh|bash|shell|console)$/.test(marker[1] ?? "") };
      continued = "";
      continue;
    }
    if (fence && !fence.shell) continue;
    const typed = fence ? [continued + content] : [...content.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? "");
    continued = fence && content.endsWith("\\") ? `${typed[0]?.slice(0, -1)} ` : "";
    if (continued) continue;
    for (const words of typed.flatMap(simpleCommands)) found.push({ line: index + 1, words });
  }
  return found;
}

function simpleCommands(typed: string): string[][] {
  const withoutComment = typed.replace(/(?:^|\s)#.*$/, "");
  return withoutComment.split(/&&|\|\||[;|&()]/).map((command) => {
    const words = command.trim().split(/\s+/);
    const first = words.findIndex((word) => word !== "$" && word !== "exec" && !/^[A-Z_]+=/.test(word));
    return first < 0 ? [] : words.slice(first);
  });
}

function judge([program, ...rest]: readonly string[], callable: Callable): string | undefined {
  if (program === "npm") return judgeNpm(rest, callable.scripts);
  if (program === "npx" && rest[0] === "tintype") return judgeTintype(rest.slice(1), callable.commands);
  return undefined;
}

function judgeNpm([verb, name]: readonly string[], scripts: ReadonlySet<string>): string | undefined {
  if (verb === undefined || verb.startsWith("-") || NPM_BUILTINS.has(verb)) return undefined;
  const script = verb === "run" ? name : NPM_SCRIPTS.has(verb) ? verb : undefined;
  if (script === undefined) return `npm ${verb}: no such command of npm is known here`;
  return scripts.has(script) ? undefined : `npm run ${script}: package.json has no such script`;
}

function judgeTintype(words: readonly string[], commands: Callable["commands"]): string | undefined {
  const firstFlag = words.findIndex((word) => word.startsWith("-"));
  const names = firstFlag < 0 ? words : words.slice(0, firstFlag);
  const typed = ["npx tintype", ...words].join(" ");
  if (names.length === 0 || names[0] === "help") return undefined;
  if (!commands) return `${typed}: the commands of the CLI are not known (bin/commands.js)`;
  const id = names.map((_, index) => names.slice(0, names.length - index).join(":")).find((name) => name in commands);
  if (id === undefined) {
    const isTopic = Object.keys(commands).some((command) => command.startsWith(`${names.join(":")}:`));
    return isTopic ? undefined : `${typed}: no such command`;
  }
  const flags = flagsOf(commands[id]);
  const unknown = words.filter((word) => /^--[a-z]/.test(word)).find((word) => !flags.has(flagName(word)));
  return unknown === undefined ? undefined : `${typed}: ${id.replaceAll(":", " ")} has no ${unknown}`;
}

const flagName = (word: string) => word.replace(/^--(?:no-)?/, "").replace(/=.*$/, "");

function flagsOf(command: Command | undefined): Set<string> {
  const flags = [command?.flags, command?.baseFlags].flatMap((defined) => Object.keys(defined ?? {}));
  return new Set([...flags, "help", ...(command?.enableJsonFlag ? ["json"] : [])]);
}
