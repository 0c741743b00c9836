import { BaseCommand } from "../../src/cli/base.ts";
import { untilInterrupted } from "../../src/cli/interrupt.ts";
import { createProgress } from "../../src/cli/progress.ts";

export class TagsRebuild extends BaseCommand {
  static override summary = "make the lists of posts by hashtag again, from captions, while serving";
  static override description =
    "To be run after the upgrade from a version without hashtags and mentions, which are found in captions by this and shown from then on; and after the feature `tags` was off, which does not know what was published, changed and deleted meanwhile.";
  static override examples = ["<%= config.bin %> tags rebuild"];

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(TagsRebuild);
    const { rebuildTags } = await import("./tags.ts");
    const progress = createProgress();
    const rebuilt = await untilInterrupted("What it was not done with is done by the next.", (signal) =>
      this.withContext(flags, (context) =>
        rebuildTags(context, { signal, onProgress: (posts) => progress.say(`looking at captions: ${posts} posts`) }),
      ),
    ).finally(progress.end);
    this.log(`${rebuilt.posts} posts looked at, ${rebuilt.strays} hashtags of posts that are gone removed`);
    return rebuilt;
  }
}
