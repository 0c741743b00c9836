import { dirname } from "node:path";
import { Type } from "typebox";
import { Check } from "typebox/value";
import { FAILURES, RENDITION_NAMES, type RenderReply, type RenderRequest } from "./protocol.ts";

const Pixels = Type.Integer({ minimum: 1 });

const Reply = Type.Union([
  Type.Object({ outcome: Type.Literal("accepted") }),
  Type.Object({
    outcome: Type.Literal("rendered"),
    rendered: Type.Object({
      width: Pixels,
      height: Pixels,
      thumbhash: Type.String({ maxLength: 100 }),
      animated: Type.Boolean(),
      renditions: Type.Array(
        Type.Object({
          name: Type.Enum([...RENDITION_NAMES]),
          width: Pixels,
          height: Pixels,
          bytes: Type.Integer({ minimum: 1 }),
          sha256: Type.String({ pattern: "^[0-9a-f]{64}$" }),
          path: Type.String(),
        }),
        { minItems: RENDITION_NAMES.length, maxItems: RENDITION_NAMES.length },
      ),
    }),
  }),
  Type.Object({
    outcome: Type.Literal("refused"),
    code: Type.Enum(Object.keys(FAILURES)),
    detail: Type.String(),
  }),
  Type.Object({ outcome: Type.Literal("broken"), detail: Type.String(), code: Type.String() }),
]);

/**
 * Whether a child gave an answer to this request. What a decoder makes of a stranger's file may have overwritten its
 * memory, so nothing is believed: above all, files are taken from the output directory alone.
 */
export function isReply(value: unknown, { outputDir }: RenderRequest): value is RenderReply {
  if (!Check(Reply, value)) return false;
  if (value.outcome !== "rendered") return true;
  const { renditions } = value.rendered;
  const names = new Set(renditions.map(({ name }) => name));
  return names.size === RENDITION_NAMES.length && renditions.every(({ path }) => dirname(path) === outputDir);
}
