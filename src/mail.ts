import { isIP } from "node:net";
import { createTransport } from "nodemailer";
import type { Config } from "./config/schema.ts";

/** A letter in plain text. */
export interface Mail {
  /** An address, without a name. */
  to: string;
  subject: string;
  text: string;
}

export interface Mailer {
  /** Resolves when the mail server has taken the mail. @throws MailError; it may have been taken all the same. */
  send(mail: Mail, signal?: AbortSignal): Promise<void>;
  /** Connects and signs in. @throws MailError */
  verify(): Promise<void>;
  /** `smtp.example.com:587`, without what is secret. */
  readonly server: string;
}

/**
 * Why a mail was not sent, as it may be logged: servers repeat addresses, which must not get there. It is no outage:
 * a mail that is not taken in a few tries is not worth waiting for.
 */
export class MailError extends Error {
  constructor(error: unknown) {
    const said = error instanceof Error ? error.message : String(error);
    super(`the mail server did not take it: ${said.replace(/\S*@\S*/g, "[address]").slice(0, 300)}`);
    this.name = "MailError";
  }
}

/** Milliseconds for connecting, the greeting, and each answer. */
const TIMEOUT = 10_000;
const SUBMISSION_PORT = 587;
const SUBMISSIONS_PORT = 465;

/** The configured mail server, asked anew for each mail; null where there is none. */
export function openMailer({ url, from }: Config["smtp"]): Mailer | null {
  if (url === null || from === null) return null;
  const { protocol, hostname, port: given, username, password } = new URL(url);
  const secure = protocol === "smtps:";
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  const port = given === "" ? (secure ? SUBMISSIONS_PORT : SUBMISSION_PORT) : Number(given);
  const transport = createTransport(
    {
      host,
      port,
      secure,
      ...(username === "" ? {} : { auth: { user: decodeURIComponent(username), pass: decodeURIComponent(password) } }),
      // A relay on this machine often has a certificate of its own making, and nobody is in between.
      tls: { rejectUnauthorized: !isLoopback(host) },
      dnsTimeout: TIMEOUT,
      connectionTimeout: TIMEOUT,
      greetingTimeout: TIMEOUT,
      // A little later than the others, which say what was waited for.
      socketTimeout: TIMEOUT + 1_000,
      disableFileAccess: true,
      disableUrlAccess: true,
    },
    // RFC 3834: no answering machine answers such a mail.
    { from, xMailer: false, headers: { "Auto-Submitted": "auto-generated" } },
  );
  return {
    server: `${hostname}:${port}`,
    send: ({ to, subject, text }, signal) =>
      // As an object it is taken as it is; a text would be read as a list of addresses.
      attempt(() => transport.sendMail({ to: { name: "", address: to }, subject, text }), signal),
    verify: () => attempt(() => transport.verify()),
  };
}

async function attempt(work: () => Promise<unknown>, signal?: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal?.reason);
  signal?.addEventListener("abort", abort);
  try {
    signal?.throwIfAborted();
    await Promise.race([work(), aborted.promise]);
  } catch (error) {
    throw new MailError(error);
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
