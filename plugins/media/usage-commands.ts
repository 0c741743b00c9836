import { Args, Flags } from "@oclif/core";
import { BaseCommand } from "../../src/cli/base.ts";

const user = Flags.string({ description: "only media of this account", helpValue: "NAME" });
const STATES = ["processing", "ready", "failed", "removed"] as const;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export class MediaUsage extends BaseCommand {
  static override summary = "how many media there are and what they take, by kind and by user";
  static override examples = ["<%= config.bin %> media usage", "<%= config.bin %> media usage --by user --limit 10"];
  static override flags = {
    user,
    by: Flags.option({ description: "show only this division", options: ["kind", "user"] as const })(),
    limit: Flags.integer({ description: "users at most, those who take most", default: 20, min: 1, max: 10_000 }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(MediaUsage);
    const [{ usageOfMedia }, { ownerNamed }, { openSession }] = await Promise.all([
      import("./usage.ts"),
      import("./owners.ts"),
      import("../../src/db/session.ts"),
    ]);
    const { by_kind, by_user, ...report } = await this.withDeps(flags, async ({ context, database }) => {
      const ownerId = await ownerNamed(context.db, flags.user);
      const session = openSession(database.connection, "tintype media");
      return usageOfMedia(session, { ownerId, limit: flags.limit }).finally(() => session.destroy());
    });
    const figures = ["media", "originals", "original_bytes", "renditions", "rendition_bytes", "bytes"] as const;
    if (flags.by !== "user") this.table(by_kind, ["kind", "state", ...figures]);
    if (flags.by === undefined) this.log("");
    if (flags.by !== "kind") this.table(by_user, ["username", ...figures]);
    const { media, bytes } = report.total;
    this.log(`\n${media} media of ${report.users} ${report.users === 1 ? "user" : "users"}, ${bytes} bytes.`);
    return {
      ...report,
      ...(flags.by === "user" ? {} : { by_kind }),
      ...(flags.by === "kind" ? {} : { by_user }),
    };
  }
}

export class MediaList extends BaseCommand {
  static override summary = "list media with what became of them, latest first";
  static override flags = {
    user,
    state: Flags.option({ description: "only those in this state", options: STATES, exclusive: ["failed"] })(),
    failed: Flags.boolean({ description: "only those that failed, as --state failed", default: false }),
    since: Flags.string({ description: "only those uploaded since then: a date, a time, or how long ago (7d)" }),
    limit: Flags.integer({ description: "how many at most", default: 50, min: 1, max: 10_000 }),
    after: Flags.string({ description: "go on after this id, as the list before ended", helpValue: "ID" }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(MediaList);
    const since = flags.since === undefined ? null : this.moment("since", flags.since);
    const after = flags.after ?? null;
    if (after !== null && !UUID.test(after)) this.error("--after wants the id of a medium.", { exit: 2 });
    const state = flags.failed ? "failed" : (flags.state ?? null);
    const [{ listMedia }, { ownerNamed }] = await Promise.all([import("./catalogue.ts"), import("./owners.ts")]);
    const rows = await this.withContext(flags, async ({ db }) =>
      listMedia(db, { ownerId: await ownerNamed(db, flags.user), state, since, after, limit: flags.limit + 1 }),
    );
    const media = rows.slice(0, flags.limit);
    const next_cursor = rows.length > flags.limit ? (media.at(-1)?.id ?? null) : null;
    const shown = media.map(({ failure, ...medium }) => ({ ...medium, reason: failure?.code ?? null }));
    const times = ["created_at", "attempted_at", "finished_at"] as const;
    this.table(shown, ["id", "kind", "state", "reason", "attempts", "owner", "bytes", ...times]);
    if (next_cursor) this.log(`More: the same with --after ${next_cursor}`);
    return { media, next_cursor };
  }
}

export class MediaShow extends BaseCommand {
  static override summary = "show a medium: how it stands and why, and its objects";
  static override args = { id: Args.string({ required: true, description: "as `media list` shows it" }) };

  override async run(): Promise<unknown> {
    const { args, flags } = await this.parse(MediaShow);
    if (!UUID.test(args.id)) this.error(`${args.id} is not the id of a medium.`, { exit: 2 });
    const { showMedium } = await import("./catalogue.ts");
    const medium = await this.withContext(flags, (context) => showMedium(context, args.id));
    const { objects, failure, ...fields } = medium;
    const shown = { ...fields, failure: failure && `${failure.code}: ${failure.message}` };
    for (const [name, value] of Object.entries(shown)) {
      this.log(`${name.padEnd(20)} ${value instanceof Date ? value.toISOString() : (value ?? "-")}`);
    }
    this.log("");
    this.table(objects, ["name", "bytes", "found_bytes", "sha256", "key"]);
    return medium;
  }
}
