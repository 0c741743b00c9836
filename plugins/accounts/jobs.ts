import type { Context } from "../../src/context.ts";
import { ConfigError } from "../../src/errors.ts";
import { defineJob } from "../../src/jobs/job.ts";
import type { LinkPurpose } from "./link-store.ts";

declare module "../../src/jobs/job.ts" {
  interface JobData {
    "accounts.mail": { kind: LinkPurpose; user_id: string };
    "accounts.delete": { user_id: string };
    "accounts.sweep": Record<never, never>;
    "accounts.sweep_sessions": Record<never, never>;
  }
}

/** Mails a one-time link. */
export const mailJob = defineJob<Context, "accounts.mail">({
  name: "accounts.mail",
  // Some five minutes in all; who still waits then asks again.
  attempts: 8,
  concurrency: () => 2,
  urgent: false,
  expireSeconds: 120,
  async open(context) {
    const [{ openMailer }, { mailLink }] = await Promise.all([import("../../src/mail.ts"), import("./mails.ts")]);
    const mailer = openMailer(context.config.smtp);
    return {
      async handle(data, run) {
        if (mailer === null) {
          throw new ConfigError("this worker has no mail server", { hint: "Give it TINTYPE_SMTP_URL too." });
        }
        await mailLink(context, mailer, data, run);
      },
    };
  },
});

/** Removes an account and all that it left. */
export const deleteJob = defineJob<Context, "accounts.delete">({
  name: "accounts.delete",
  // The pauses double up to half an hour; then `accounts.sweep` begins anew.
  attempts: 12,
  concurrency: () => 2,
  urgent: false,
  expireSeconds: 3_600,
  async open(context) {
    const { eraseAccount } = await import("./lifecycle.ts");
    return {
      async handle({ user_id }, { log, signal }) {
        await eraseAccount(context, user_id, signal);
        log.info({ user_id }, "account deleted");
      },
    };
  },
});

/** Frees names whose time is over, removes links and invites that expired, and goes on with deletions that got stuck. */
export const sweepAccounts = defineJob<Context, "accounts.sweep">({
  name: "accounts.sweep",
  attempts: 3,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 300,
  schedule: "*/10 * * * *",
  async open(context) {
    const [{ deleteFreeNames }, { deleteExpiredLinks }, { deleteExpiredInvites }, { resumeDeletions }] =
      await Promise.all([
        import("./name-store.ts"),
        import("./link-store.ts"),
        import("./invite-store.ts"),
        import("./lifecycle.ts"),
      ]);
    const { db } = context;
    return {
      async handle(_data, { log }) {
        const names = await deleteFreeNames(db);
        const links = await deleteExpiredLinks(db);
        const invites = await deleteExpiredInvites(db);
        const deletions = await resumeDeletions(context);
        if (names + links + invites + deletions > 0) log.info({ names, links, invites, deletions }, "accounts swept");
      },
    };
  },
});

/** Removes sessions that nobody used for their lifetime; they are refused already, this only frees the rows. */
export const sweepSessions = defineJob<Context, "accounts.sweep_sessions">({
  name: "accounts.sweep_sessions",
  attempts: 3,
  concurrency: () => 1,
  urgent: false,
  expireSeconds: 300,
  schedule: "17 3 * * *",
  async open({ config, db }) {
    const { deleteExpiredSessions } = await import("./session-store.ts");
    return {
      async handle(_data, { log }) {
        const sessions = await deleteExpiredSessions(db, config.accounts.session_lifetime);
        log.info({ sessions }, "unused sessions swept");
      },
    };
  },
});
