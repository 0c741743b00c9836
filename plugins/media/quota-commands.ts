import { Args } from "@oclif/core";
import { BaseCommand } from "../../src/cli/base.ts";
import { formatSize, parseSize } from "../../src/config/units.ts";

export class MediaQuota extends BaseCommand {
  static override summary = "show how much an account has uploaded and may upload, or set that";
  static override description = "What it may upload is counted in bytes of the files that it has not deleted.";
  static override examples = [
    "<%= config.bin %> media quota ana",
    "<%= config.bin %> media quota ana 5gb",
    "<%= config.bin %> media quota ana default",
  ];
  static override args = {
    name: Args.string({ required: true, description: "user name" }),
    size: Args.string({ description: "500mb, 5gb; `none` for no limit, `default` for that of `media.quota`" }),
  };

  override async run(): Promise<unknown> {
    const { args, flags } = await this.parse(MediaQuota);
    const wanted = args.size === undefined ? undefined : this.quota(args.size);
    const [{ quotaOf, setQuota }, { accountNamed }] = await Promise.all([import("./quota.ts"), import("./owners.ts")]);
    const answer = await this.withContext(flags, async ({ db, config }) => {
      const { id, username } = await accountNamed(db, args.name);
      if (wanted !== undefined) await setQuota(db, id, wanted);
      const { own, ...quota } = await quotaOf(db, config, id);
      return { username, ...quota, set_for: own ? ("account" as const) : ("everybody" as const) };
    });
    const { username, used_bytes, quota_bytes, set_for } = answer;
    const limit = quota_bytes === null ? "as many as it likes" : `${quota_bytes} (${formatSize(quota_bytes)})`;
    const source = set_for === "account" ? "set for this account" : "as everybody";
    this.log(`${username} has uploaded ${used_bytes} bytes and may upload ${limit}, ${source}.`);
    return answer;
  }

  private quota(text: string): number | null | "default" {
    if (text === "default") return text;
    const bytes = text === "none" ? null : text === "0" ? 0 : parseSize(text);
    if (bytes === undefined) this.error(`${text} is no size: 500mb, 5gb, none or default.`, { exit: 2 });
    return bytes;
  }
}
