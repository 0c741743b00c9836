import { Flags } from "@oclif/core";
import { BaseCommand } from "../../src/cli/base.ts";

export class KeysRotate extends BaseCommand {
  static override summary = "make a new key for media tickets";
  static override description =
    "URLs that were given out stay good for their time, half an hour at most. With --revoke they are refused within 10 seconds.";
  static override flags = {
    revoke: Flags.boolean({ description: "refuse the tickets of all older keys, when one was stolen", default: false }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(KeysRotate);
    const { rotateKeys } = await import("./keyring.ts");
    const { id, retired } = await this.withContext(flags, ({ db }) => rotateKeys(db, flags));
    this.log(`Key ${id} signs from now on. ${flags.revoke ? "Revoked" : "Retired"}: ${retired}.`);
    return { id, retired, revoked: flags.revoke };
  }
}

export class KeysList extends BaseCommand {
  static override summary = "list the keys for media tickets; the first one signs";

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(KeysList);
    const { listKeys } = await import("./store.ts");
    const keys = await this.withContext(flags, ({ db }) => listKeys(db));
    this.table(keys, ["id", "created_at", "expires_at"]);
    return { keys };
  }
}
