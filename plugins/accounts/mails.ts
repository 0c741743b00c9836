import type { Config } from "../../src/config/schema.ts";
import type { Context } from "../../src/context.ts";
import { inTransaction } from "../../src/db/transaction.ts";
import type { Run } from "../../src/jobs/job.ts";
import type { Mail, Mailer } from "../../src/mail.ts";
import { mailNotConfigured } from "./errors.ts";
import type { Invite } from "./invites.ts";
import { type LinkPurpose, wasMailedSince } from "./link-store.ts";
import { issueLink, urlOfLink, withdrawLink } from "./links.ts";
import { type AccountRow, lockAccount } from "./store.ts";

const MINUTE = 60_000;

/** Milliseconds that mailed links are good for. */
const LIFETIME: Readonly<Record<LinkPurpose, number>> = {
  password_reset: 60 * MINUTE,
  email_confirmation: 7 * 24 * 60 * MINUTE,
};

/** @throws 422 where no mail is sent. */
export function requireMail({ smtp }: Pick<Config, "smtp">): void {
  if (smtp.url === null) throw mailNotConfigured({});
}

/**
 * Mails a link, which is made here so that no job holds one. One of each kind a minute and account at most, whoever asks
 * for how many: a mail that went out after this one was asked for, or shortly before, is the mail that was asked for.
 */
export async function mailLink(
  { config, db }: Pick<Context, "config" | "db">,
  mailer: Mailer,
  { kind, user_id }: { kind: LinkPurpose; user_id: string },
  { id: job_id, enqueued_at, signal }: Pick<Run, "id" | "enqueued_at" | "signal">,
): Promise<void> {
  const since = new Date(enqueued_at.getTime() - MINUTE);
  const made = await inTransaction(db, async (tx) => {
    // Of two jobs at once, one sees what the other has made.
    const account = await lockAccount(tx, user_id);
    if (!account || !wants(account, kind)) return null;
    if (await wasMailedSince(tx, { user_id, purpose: kind, since, job_id })) return null;
    const link = await issueLink(tx, { user_id, purpose: kind, lifetime: LIFETIME[kind], job_id });
    return { link, to: account.email };
  });
  if (!made) return;
  const { link, to } = made;
  try {
    await mailer.send({ to, ...TEXTS[kind](urlOfLink(config, kind, link.token), siteOf(config)) }, signal);
  } catch (error) {
    // It reached nobody, and must not keep another job from mailing one that does.
    await withdrawLink(db, link);
    throw error;
  }
}

/** Mails an invite to whom it is meant for. */
export async function mailInvite(
  config: Config,
  mailer: Mailer,
  { code, expires_at }: Invite,
  to: string,
): Promise<void> {
  const site = siteOf(config);
  await mailer.send({
    to,
    subject: `Your invitation to ${site}`,
    text: letter(
      `you are invited to ${site}. Open this link to make your account:`,
      urlOfInvite(config, code),
      `Or enter this invite code in your app: ${code}`,
      `It is good for one account, until ${expires_at.toUTCString()}.`,
    ),
  });
}

/** Where a browser uses an invite. */
export function urlOfInvite({ public_url }: Pick<Config, "public_url">, code: string): string {
  return `${public_url}/account/register?invite=${code}`;
}

function wants(account: AccountRow, kind: LinkPurpose): boolean {
  return account.state === "active" && (kind === "password_reset" || account.email_confirmed_at === null);
}

/** Nothing in them is of the account's own making, not even its name: whoever registers may give another's email. */
const TEXTS: Readonly<Record<LinkPurpose, (url: string, site: string) => Pick<Mail, "subject" | "text">>> = {
  password_reset: (url, site) => ({
    subject: `A new password for ${site}`,
    text: letter(
      `somebody asked for a new password for your account at ${site}. If it was you, open this link within an hour:`,
      url,
      "If it was not you, do nothing: the password stays as it is.",
    ),
  }),
  email_confirmation: (url, site) => ({
    subject: `Confirm your email for ${site}`,
    text: letter(
      `an account at ${site} was opened with this address. If it is yours, open this link within 7 days:`,
      url,
      "If you know nothing of it, do nothing.",
    ),
  }),
};

function letter(...paragraphs: string[]): string {
  return `${["Hello,", ...paragraphs].join("\n\n")}\n`;
}

function siteOf({ public_url }: Pick<Config, "public_url">): string {
  return new URL(public_url).host;
}
