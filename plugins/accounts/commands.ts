import { text } from "node:stream/consumers";
import { Args, Flags } from "@oclif/core";
import { BaseCommand } from "../../src/cli/base.ts";
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

/** What an operator sees of an account. */
function shown(row: AccountRow) {
  const { id, username, email, display_name, is_private, post_count, follower_count, following_count, created_at } =
    row;
  return { id, username, email, display_name, is_private, post_count, follower_count, following_count, created_at };
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
    const rows = await this.withContext(flags, ({ db }) => listAccounts(db, { limit: flags.limit + 1, after }));
    const users = rows.slice(0, flags.limit).map(shown);
    const last = rows.length > flags.limit ? users.at(-1) : undefined;
    const next_cursor = last ? encodeCursor({ at: last.created_at, id: last.id }) : null;
    this.table(users, ["username", "email", "post_count", "follower_count", "following_count", "created_at", "id"]);
    if (next_cursor) this.log(`More: tintype users list --after ${next_cursor}`);
    return { users, next_cursor };
  }
}

export class UsersShow extends BaseCommand {
  static override summary = "show an account";
  static override args = { name: Args.string({ required: true, description: "user name" }) };

  override async run(): Promise<unknown> {
    const { args, flags } = await this.parse(UsersShow);
    const { requireAccount } = await import("./accounts.ts");
    const user = shown(await this.withContext(flags, ({ db }) => requireAccount(db, args.name)));
    for (const [name, value] of Object.entries(user)) {
      this.log(`${name.padEnd(16)} ${value instanceof Date ? value.toISOString() : (value ?? "-")}`);
    }
    return user;
  }
}
