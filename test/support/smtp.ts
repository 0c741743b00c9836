import { type AddressInfo, createServer, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { SMTPServer } from "smtp-server";
import { waitFor } from "./server.ts";

export interface ReceivedMail {
  /** The envelope's. */
  from: string;
  to: string[];
  /** By lower-case name, unfolded. */
  headers: Record<string, string>;
  /** Decoded. */
  text: string;
}

export interface MailServer {
  url: string;
  /** For TINTYPE_SMTP_*. */
  env: Record<string, string>;
  /** All mails so far, the oldest first. */
  mails: readonly ReceivedMail[];
  /** How many connections were made. */
  connections(): number;
  /** What the server says to each recipient from now on; null takes them. */
  refuse(reason: string | null): void;
  /** Waits for the mail to `address` behind the first `after` of them. */
  mailTo(address: string, after?: number): Promise<ReceivedMail>;
}

interface Test {
  teardown(end: () => unknown): void;
}

const FROM = "Zoë's Fotos <photos@example.com>";
const USER = "tintype";
const PASSWORD = "the mail server's password";

/** A mail server that takes mails from whoever knows its password. */
export async function startMailServer(t: Test): Promise<MailServer> {
  const mails: ReceivedMail[] = [];
  let connections = 0;
  let refusal: string | null = null;
  const server = new SMTPServer({
    disabledCommands: ["STARTTLS"],
    authOptional: false,
    allowInsecureAuth: true,
    onConnect(_session, done) {
      connections += 1;
      done();
    },
    onAuth({ username, password }, _session, done) {
      if (username === USER && password === PASSWORD) done(null, { user: username });
      else done(new Error("wrong password"));
    },
    onRcptTo(_address, _session, done) {
      done(refusal === null ? null : new Error(refusal));
    },
    onData(stream, { envelope }, done) {
      text(stream).then((raw) => {
        const from = envelope.mailFrom === false ? "" : envelope.mailFrom.address;
        mails.push({ from, to: envelope.rcptTo.map(({ address }) => address), ...parse(raw) });
        done();
      }, done);
    },
  });
  server.on("error", () => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => new Promise<void>((resolve) => server.close(resolve)));
  const { port } = server.server.address() as AddressInfo;
  const url = `smtp://${USER}:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}`;
  return {
    url,
    env: { TINTYPE_SMTP_URL: url, TINTYPE_SMTP_FROM: FROM },
    mails,
    connections: () => connections,
    refuse: (reason) => {
      refusal = reason;
    },
    mailTo: (address, after = 0) =>
      waitFor(async () => mails.filter(({ to }) => to.includes(address))[after], `mail ${after + 1} to ${address}`),
  };
}

/** A server that takes connections and then says nothing. */
export async function startSilentMailServer(t: Test): Promise<{ env: Record<string, string>; connections(): number }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  return {
    env: { TINTYPE_SMTP_URL: `smtp://127.0.0.1:${port}`, TINTYPE_SMTP_FROM: FROM },
    connections: () => sockets.size,
  };
}

/** The one link in a mail. */
export function linkIn({ text }: ReceivedMail): URL {
  const links = text.match(/https?:\/\/\S+/g) ?? [];
  if (links.length !== 1 || !links[0]) throw new Error(`a mail with ${links.length} links:\n${text}`);
  return new URL(links[0]);
}

function parse(raw: string): Pick<ReceivedMail, "headers" | "text"> {
  const end = raw.indexOf("\r\n\r\n");
  const lines = raw
    .slice(0, end)
    .replace(/\r\n[ \t]+/g, " ")
    .split("\r\n");
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
  );
  const body = raw.slice(end + 4).replaceAll("\r\n", "\n");
  return { headers, text: decode(body, headers["content-transfer-encoding"] ?? "7bit") };
}

/** RFC 2045. */
function decode(body: string, encoding: string): string {
  if (encoding === "base64") return Buffer.from(body, "base64").toString();
  if (encoding !== "quoted-printable") return body;
  const bytes = body
    .replace(/=\n/g, "")
    .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString();
}
