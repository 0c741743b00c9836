import { Args, Flags } from "@oclif/core";
import { BaseCommand } from "../../src/cli/base.ts";
import type { Context } from "../../src/context.ts";
import { OperationError } from "../../src/errors.ts";

const name = Args.string({ required: true, description: "user name" });

export class UsersSuspend extends BaseCommand {
  static override summary = "keep an account out and hide all that it shares";
  static override description = "Nothing is removed; `users unsuspend` brings all of it back, its sessions too.";
  static override args = { name };

  override async run(): Promise<unknown> {
    const { args, flags } = await this.parse(UsersSuspend);
    const answer = await this.withContext(flags, (context) => setState(context, args.name, "suspended"));
    this.log(`${answer.username} is suspended${answer.changed ? "" : " already"}.`);
    return answer;
  }
}

export class UsersUnsuspend extends BaseCommand {
  static override summary = "let a suspended account back in";
  static override args = { name };

  override async run(): Promise<unknown> {
    const { args, flags } = await this.parse(UsersUnsuspend);
    const answer = await this.withContext(flags, (context) => setState(context, args.name, "active"));
    this.log(`${answer.username} is ${answer.changed ? "let in again" : "not suspended"}.`);
    return answer;
  }
}

async function setState(context: Context, username: string, state: "active" | "suspended") {
  const [{ requireAccount }, { setSuspended }] = await Promise.all([import("./accounts.ts"), import("./lifecycle.ts")]);
  const account = await requireAccount(context.db, username);
  const changed = await setSuspended(context, account.id, state === "suspended");
  if (changed === null) {
    throw new OperationError(`${account.username} is being deleted`, { hint: "That cannot be undone." });
  }
  return { username: account.username, state, changed };
}

export class UsersDelete extends BaseCommand {
  static override summary = "delete an account with all that it left, for good";
  static override description =
    "It is there for nobody at once; a job removes its rows and files. Its name is free after 30 days (accounts.deleted_username_hold).";
  static override args = { name };
  static override flags = {
    "dry-run": Flags.boolean({ description: "only say what would be removed", default: false }),
  };

  override async run(): Promise<unknown> {
    const { args, flags } = await this.parse(UsersDelete);
    const [{ requireAccount }, { deleteByOperator }, { belongingsOf }] = await Promise.all([
      import("./accounts.ts"),
      import("./lifecycle.ts"),
      import("./usage.ts"),
    ]);
    const dryRun = flags["dry-run"];
    const answer = await this.withContext(flags, async (context) => {
      const { id, username, state } = await requireAccount(context.db, args.name);
      const belongings = await belongingsOf(context.db, id);
      if (!dryRun) await deleteByOperator(context, id);
      return { username, state: dryRun ? state : "deleting", ...belongings, dry_run: dryRun };
    });
    const { username, posts, media, followers, following } = answer;
    this.log(
      `${dryRun ? "Would delete" : "Deleting"} ${username}: ${posts} posts, ${media} media, ${followers} followers, ${following} followed.`,
    );
    return answer;
  }
}

export class UsersResetPassword extends BaseCommand {
  static override summary = "make a link with which its owner sets a new password, once";
  static override description =
    "It is printed now and never again, is good for 24 hours, and makes earlier ones void. Give it to nobody else.";
  static override args = { name };
  static override flags = {
    "sign-out": Flags.boolean({ description: "end all sessions now, when somebody else may have one", default: false }),
  };

  override async run(): Promise<unknown> {
    const { args, flags } = await this.parse(UsersResetPassword);
    const [{ requireAccount }, { issueOperatorsLink }, { urlOfLink }] = await Promise.all([
      import("./accounts.ts"),
      import("./credentials.ts"),
      import("./links.ts"),
    ]);
    const answer = await this.withContext(flags, async (context) => {
      const { config, db } = context;
      const account = await requireAccount(db, args.name);
      if (account.state === "deleting") throw new OperationError(`${account.username} is being deleted`);
      const { token, expires_at } = await issueOperatorsLink(context, account, { signOut: flags["sign-out"] });
      return { username: account.username, url: urlOfLink(config, "password_reset", token), expires_at };
    });
    this.log(answer.url);
    this.log(`For ${answer.username}, once, until ${answer.expires_at.toISOString()}.`);
    return answer;
  }
}
