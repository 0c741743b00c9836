import type { Feature } from "../../src/feature.ts";
import { KeysList, KeysRotate } from "./commands.ts";

export const tickets: Feature = {
  name: "tickets",
  summary: "who is looking, in the URLs of pictures",
  core: true,
  requires: [],
  commands: { "keys:list": KeysList, "keys:rotate": KeysRotate },
};
