import { text } from "node:stream/consumers";
import { Args, Flags } from "@oclif/core";
import { BaseCommand } from "../../src/cli/base.ts";
import type { Config } from "../../src/config/schema.ts";
import type { Invite } from "./invites.ts";
import type { AccountRow } from "./store.ts";

/** One line of standard input; asked for, and not shown, on a terminal. */
async function readPassword(): Promise<string> {
  if (process.stdin.isTTY) {
    const { default: ask } = await import("@inquirer/password");
    return ask({ message: "Password" }, { output: process.stderr });
  }
  const [line = ""] = (await text(process.stdin)).split(/\r?\n/, 1);
  return line;
}

/** Milliseconds. */
const LONGEST_INVITE = 366 * 24 * 3_600_000;
/** The exit of every command for which something did not answer. */
const DEPENDENCY_DOWN = 4;
const STATES = ["active", "suspended", "deleting"] as const;

/** What an operator sees of an account. */
function shown(row: AccountRow) {
  const { id, username, state, email, email_confirmed_at, display_name, is_private } = row;
  const { post_count, follower_count, following_count, created_at } = row;
  const email_confirmed = email_confirmed_at !== null;
  const counts = { post_count, follower_count, following_count };
  return { id, username, state, email, email_confirmed, display_name, is_private, ...counts, created_at };
}

export class UsersCreate extends BaseCommand {
  static override summary = "make an account";
  static override examples = [
    "echo 'a long password' | <%= config.bin %> users create ana --email ana@example.org --password-stdin",
  ];
  static override args = {
    name: Args.string({ required: true, description: "3 to 30 of a-z, 0-9, dot and underscore" }),
  };
  static override flags = {
    email: Flags.string({ required: true, description: "email address" }),
    "display-name": Flags.string({ description: "name that is shown" }),
    "password-stdin": Flags.boolean({ required: true, description: "read the password from standard input, one line" }),
  };

  override async run(): Promise<unknown> {
    const { args, flags } = await this.parse(UsersCreate);
    const password = await readPassword();
    const [{ createAccount }, { Registration }, { assertBody }] = await Promise.all([
      import("./accounts.ts"),
      import("./registration.ts"),
      import("../../src/http/validation.ts"),
    ]);
    const display_name = flags["display-name"] ?? null;
    const registration = assertBody(Registration, { username: args.name, email: flags.email, password, display_name });
    const account = await this.withContext(flags, ({ db }) => createAccount(db, registration));
    this.log(`Made ${account.username} (${account.id}).`);
    return shown(account);
  }
}

export class UsersList extends BaseCommand {
  static override summary = "list accounts, latest first";
  static override flags = {
    state: Flags.option({ description: "only those in this state", options: STATES })(),
    limit: Flags.integer({ description: "how many at most", default: 50, min: 1, max: 10_000 }),
    after: Flags.string({ description: "go on after this cursor, as the list before gave it", helpValue: "CURSOR" }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(UsersList);
    const [{ listAccounts }, { decodeCursor, encodeCursor }] = await Promise.all([
      import("./store.ts"),
      import("../../src/http/paging.ts"),
    ]);
    const after = flags.after === undefined ? null : decodeCursor(flags.after);
    const { limit, state } = flags;
    const rows = await this.withContext(flags, ({ db }) => listAccounts(db, { limit: limit + 1, after, state }));
    const users = rows.slice(0, flags.limit).map(shown);
    const last = rows.length > flags.limit ? users.at(-1) : undefined;
    const next_cursor = last ? encodeCursor({ at: last.created_at, id: last.id }) : null;
    const counts = ["post_count", "follower_count", "following_count"] as const;
    this.table(users, ["username", "state", "email", ...counts, "created_at", "id"]);
    if (next_cursor) this.log(`More: tintype users list${state ? ` --state ${state}` : ""} --after ${next_cursor}`);
    return { users, next_cursor };
  }
}

export class UsersShow extends BaseCommand {
  static override summary = "show an account";
  static override args = { name: Args.string({ required: true, description: "user name" }) };

  override async run(): Promise<unknown> {
    const { args, flags } = await this.parse(UsersShow);
    const [{ requireAccount }, { usageOf }] = await Promise.all([import("./accounts.ts"), import("./usage.ts")]);
    const user = await this.withContext(flags, async ({ db, config }) => {
      const account = await requireAccount(db, args.name);
      const state_since = account.state_changed_at;
      return { ...shown(account), state_since, ...(await usageOf(db, account.id, config.accounts.session_lifetime)) };
    });
    for (const [name, value] of Object.entries(user)) {
      this.log(`${name.padEnd(16)} ${value instanceof Date ? value.toISOString() : (value ?? "-")}`);
    }
    return user;
  }
}

export class UsersInvite extends BaseCommand {
  static override summary = "make a code with which one account can be opened";
  static override description =
    "It is asked for with TINTYPE_REGISTRATION=invite. It is printed now and never again; with --email and a mail server it is mailed too.";
  static override examples = ["<%= config.bin %> users invite --email ana@example.org --expires 3d"];
  static override flags = {
    email: Flags.string({ description: "whom it is meant for; whoever has the code can use it" }),
    expires: Flags.string({ description: "how long it is good for (12h, 7d)", default: "7d" }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(UsersInvite);
    const { parseDuration } = await import("../../src/config/units.ts");
    const lifetime = parseDuration(flags.expires);
    if (!lifetime || lifetime > LONGEST_INVITE) {
      this.error("--expires wants a duration of up to a year, such as 12h or 7d.", { exit: 2 });
    }
    const [{ createInvite }, { urlOfInvite }, { InvitedEmail }, { assertBody }] = await Promise.all([
      import("./invites.ts"),
      import("./mails.ts"),
      import("./registration.ts"),
      import("../../src/http/validation.ts"),
    ]);
    const email = flags.email ?? null;
    if (email !== null) assertBody(InvitedEmail, { email });
    const invite = await this.withContext(flags, async ({ config, db }) => {
      const { registration } = config;
      if (registration !== "invite") {
        this.logToStderr(`Warning: registration is ${registration}: codes are not asked for (TINTYPE_REGISTRATION).`);
      }
      const made = await createInvite(db, { email, lifetime });
      const mailed = email !== null && (await this.mail(config, made, email));
      return { ...made, mailed, url: urlOfInvite(config, made.code) };
    });
    this.log(invite.code);
    this.log(`${invite.url}\nGood for one account, until ${invite.expires_at.toISOString()}.`);
    if (invite.mailed) this.log(`Mailed to ${invite.email}.`);
    return invite;
  }

  /** @returns whether it was mailed. If it could not be, the code is good all the same, and is only to be had here. */
  private async mail(config: Config, invite: Invite, to: string): Promise<boolean> {
    const [{ openMailer }, { mailInvite }] = await Promise.all([import("../../src/mail.ts"), import("./mails.ts")]);
    const mailer = openMailer(config.smtp);
    if (mailer === null) return false;
    try {
      await mailInvite(config, mailer, invite, to);
      return true;
    } catch (error) {
      this.logToStderr(`Warning: the invite is not mailed: ${error instanceof Error ? error.message : error}`);
      process.exitCode = DEPENDENCY_DOWN;
      return false;
    }
  }
}
