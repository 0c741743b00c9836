import type { LoadedConfig, Source } from "./load.ts";
import { CONFIG_FILE_VARIABLE, RESERVED } from "./names.ts";
import { type Config, envName, type Setting, sections, settings } from "./schema.ts";

/** A setting as `config show` prints it. */
export interface DescribedSetting {
  readonly name: string;
  readonly env: string;
  /** As an operator would write it, without secrets; `none` where there is none. */
  readonly value: string;
  readonly source: Source;
  readonly description: string;
}

/** Every setting with its value and where that comes from, in the order of the schema; safe to show to anybody. */
export function describeConfig({ config, sources }: LoadedConfig): DescribedSetting[] {
  return settings().map((setting) => {
    const value = currentValue(config, setting);
    return {
      name: setting.name,
      env: setting.env,
      value: value === null ? "none" : setting.format(value),
      source: sources[setting.name] ?? "default",
      description: setting.description,
    };
  });
}

function currentValue(config: Config, { section, key }: Setting): unknown {
  return Reflect.get(section === null ? config : Object(Reflect.get(config, section)), key);
}

const EXAMPLE = `public_url = "https://photos.example.com"
port = 8080

[database]
url = "postgres://tintype:secret@db.example.com/tintype"

[media]
max_photo = "40mb"

[http]
idle_timeout = "90s"
trust_proxy = ["10.0.0.0/8"]`;

/** The text of docs/configuration.md. It depends on the schema alone, not on the machine. */
export function renderConfigurationDocs(): string {
  const top = settings().filter((setting) => setting.section === null);
  const parts = sections().map(({ name, description }) => {
    const inSection = settings().filter((setting) => setting.section === name);
    return `### ${name}\n\n${description}\n\n${table(inSection)}`;
  });
  return `${introduction()}

## Settings

${table(top)}

${parts.join("\n\n")}

## Names of later versions

These have no effect in this version. Setting one gives a warning at the start:

${RESERVED.map(variable).join("\n")}
`;
}

function introduction(): string {
  return `<!-- Generated from src/config/schema.ts; a change made here is lost. -->

# Configuration

Tintype runs without any. What is set comes from four sources; the first that sets a thing decides it:

1. the flags of a command, such as \`--port 8080\`,
2. the environment, such as \`${envName("port")}=8080\`; a variable that is empty counts as not set,
3. a file: the one that \`--config\` or \`${CONFIG_FILE_VARIABLE}\` names, else \`tintype.toml\` in the working directory if there is one,
4. the defaults below.

All of it is checked at the start. Every wrong value and every unknown name is listed in one message, and the process
exits with 3. Variables that begin with \`TINTYPE_TEST_\` are left alone.

\`tintype config show\` prints what holds and where it comes from, \`tintype config check\` says whether it is right.

## The file

The file is [TOML](https://toml.io). Its keys are the settings' names; the part before the dot is a section.

\`\`\`toml
${EXAMPLE}
\`\`\`

## How values are written

| what | written | |
|---|---|---|
| duration | \`500ms\`, \`5s\`, \`10m\`, \`24h\`, \`7d\` | a whole number and its unit; in quotes in the file |
| size | \`800b\`, \`500kb\`, \`20mb\`, \`1gb\` | units are multiples of 1024; in quotes in the file |
| limit | \`30/1h\`, \`2gb/1d\`, \`0\` | how many, or how much, in any window of that length; \`0\` is no limit |
| list | \`one,two\` | in the file also \`["one", "two"]\` |
| true or false | \`true\`, \`false\`, \`1\`, \`0\`, \`yes\`, \`no\` | in the file also without quotes: \`true\`, \`false\` |
| number | \`3000\` | in the file also without quotes |

In Kubernetes a service named \`tintype\` puts variables such as \`TINTYPE_PORT=tcp://10.0.0.1:3000\` into the environment
of every pod; \`enableServiceLinks: false\` in the pod's spec ends that.`;
}

function table(rows: readonly Setting[]): string {
  const lines = rows.map((setting) => {
    const shown =
      setting.default === null ? setting.otherwise : setting.default === "" ? "none" : code(setting.default);
    const secret = setting.secret ? " A secret: it is never shown." : "";
    const cells = [
      code(setting.name),
      code(setting.env),
      shown,
      `${setting.description} Takes ${setting.wants}.${secret}`,
    ];
    return `| ${cells.map((cell) => String(cell).replaceAll("|", "\\|")).join(" | ")} |`;
  });
  return ["| setting | variable | default | what it is |", "|---|---|---|---|", ...lines].join("\n");
}

function variable(name: string): string {
  return `- ${code(envName(name))} (${code(name)})`;
}

function code(text: string): string {
  return `\`${text}\``;
}
