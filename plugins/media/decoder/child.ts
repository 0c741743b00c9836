/**
 * A decoder child: one file at a time, told over the IPC channel of `fork`. Its parent sets the limits, kills it
 * where it passes them, and starts another.
 */
import { codeOf } from "../../../src/disk.ts";
import { PictureError, type RenderReply, type RenderRequest } from "./protocol.ts";

// Ctrl-C and a supervisor's SIGTERM reach the whole group; what runs here is still wanted until the parent says not.
// Hence also the late import of the decoder: it takes long enough for a signal to fall into it.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});
// The parent is gone or lets go. A plain exit would first wait for the decoder's threads.
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));

const decoder = import("./render.ts");

process.on("message", (request: RenderRequest) => {
  void answer(request).then((reply) => process.send?.(reply));
});

async function answer({ inputPath, outputDir, ...limits }: RenderRequest): Promise<RenderReply> {
  try {
    const { renderPicture } = await decoder;
    process.send?.({ outcome: "accepted" } satisfies RenderReply);
    return { outcome: "rendered", rendered: await renderPicture(inputPath, outputDir, limits) };
  } catch (error) {
    if (error instanceof PictureError) return { outcome: "refused", code: error.code, detail: error.detail };
    return { outcome: "broken", detail: error instanceof Error ? error.message : String(error), code: codeOf(error) };
  }
}
