import { createHash } from "node:crypto";

/** A field of a form. One that is hidden has no label. */
export interface Field {
  name: string;
  label?: string;
  type: "text" | "email" | "password" | "hidden";
  value?: string;
  autocomplete?: string;
  minlength?: number;
  maxlength?: number;
  required?: boolean;
  /** What is asked for, below the label. */
  hint?: string;
}

export interface Form {
  /** Relative to the page, which may lie below a path of its own: `reset-password`. */
  action: string;
  fields: readonly Field[];
  /** What the button says. */
  submit: string;
}

export interface Page {
  title: string;
  /** Paragraphs of plain text. */
  text?: readonly string[];
  /** What went wrong. */
  error?: string;
  form?: Form;
}

const STYLE = `
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 26rem; margin: 10vh auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; }
label, input, button { display: block; width: 100%; box-sizing: border-box; font: inherit; }
label { margin-top: 1rem; }
small { display: block; }
input, button { padding: .6rem; }
button { margin-top: 1.5rem; }
[role=alert] { border-left: .3rem solid #c00; padding-left: .8rem; }
`;

/** No script, nothing from elsewhere, no frame around it; forms go to this server. */
export const PAGE_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(STYLE).digest("base64")}'`,
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** A whole HTML document. All texts are plain and are escaped here. */
export function renderPage({ title, text = [], error, form }: Page): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escaped(title)}</h1>
${error === undefined ? "" : `<p role="alert">${escaped(error)}</p>\n`}${text.map((line) => `<p>${escaped(line)}</p>\n`).join("")}${form ? renderForm(form) : ""}</main>
</body>
</html>
`;
}

function renderForm({ action, fields, submit }: Form): string {
  return `<form method="post" action="${escaped(action)}">
${fields.map(renderField).join("")}<button type="submit">${escaped(submit)}</button>
</form>
`;
}

function renderField({ label, hint, ...field }: Field): string {
  const { name, required, ...others } = field;
  const id = `field-${name}`;
  const described = hint === undefined ? {} : { "aria-describedby": `${id}-hint` };
  const attributes = Object.entries({ id, name, ...others, ...described })
    .map(([attribute, value]) => ` ${attribute}="${escaped(String(value))}"`)
    .join("");
  const input = `<input${attributes}${required ? " required" : ""}>\n`;
  const said = hint === undefined ? "" : `<small id="${id}-hint">${escaped(hint)}</small>\n`;
  return label === undefined ? input : `<label for="${id}">${escaped(label)}</label>\n${said}${input}`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? "");
}
