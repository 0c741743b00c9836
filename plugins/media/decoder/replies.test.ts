import t from "tap";
import { RENDITION_NAMES, type RenderRequest } from "./protocol.ts";
import { isReply } from "./replies.ts";

const request: RenderRequest = { inputPath: "/store/original", outputDir: "/staging/render-1", maxPixels: 50e6 };

function rendered(change: Record<string, unknown> = {}, ofFirst: Record<string, unknown> = {}) {
  const renditions = RENDITION_NAMES.map((name, index) => ({
    name,
    width: 150,
    height: 150,
    bytes: 400,
    sha256: "0f".repeat(32),
    path: `/staging/render-1/${name}.webp`,
    ...(index === 0 ? ofFirst : {}),
  }));
  return {
    outcome: "rendered",
    rendered: { width: 640, height: 480, thumbhash: "HAkKXZRw", animated: false, renditions, ...change },
  };
}

t.test("what a decoder may say", async (t) => {
  for (const reply of [
    { outcome: "accepted" },
    rendered(),
    { outcome: "refused", code: "PICTURE_UNREADABLE", detail: "libvips, at length" },
    { outcome: "broken", detail: "no space", code: "ENOSPC" },
  ]) {
    t.ok(isReply(reply, request), JSON.stringify(reply));
  }
});

t.test("what no decoder of ours says", async (t) => {
  for (const reply of [
    null,
    "accepted",
    {},
    { outcome: "finished" },
    { outcome: "refused", code: "NO_SUCH_CODE", detail: "" },
    { outcome: "refused", code: "PICTURE_UNREADABLE" },
    rendered({ width: 0 }),
    rendered({ height: 1.5 }),
    rendered({ renditions: [] }),
    rendered({}, { name: "small" }),
    rendered({}, { name: "huge" }),
    rendered({}, { sha256: "none" }),
    rendered({}, { bytes: -1 }),
    rendered({}, { path: "/etc/passwd" }),
    rendered({}, { path: "/staging/render-1/../render-2/thumbnail.webp" }),
  ]) {
    t.notOk(isReply(reply, request), JSON.stringify(reply));
  }
});
