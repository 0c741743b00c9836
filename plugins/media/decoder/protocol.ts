/**
 * What the server's process and its decoder children say to each other, and the errors both know.
 * Nothing here may load sharp: the parent imports this file.
 */

/** The four renditions that every picture gets, in the order of their size. */
export const RENDITION_NAMES = ["thumbnail", "small", "medium", "large"] as const;
export type RenditionName = (typeof RENDITION_NAMES)[number];

/** Width over height of the tallest that is shown whole, by what the picture is for. A story fills a phone. */
export const TALLEST = { post: 4 / 5, avatar: 4 / 5, story: 9 / 16 } as const;

export type RenderLimits = {
  /** Width times height of the stored picture, in pixels; a picture of exactly this many is taken. */
  maxPixels: number;
  /** Of what is taller the ends are cut off; that of posts where it is not said. */
  tallest?: number;
};

/** One WebP file that was written. */
export type Rendition = {
  name: RenditionName;
  width: number;
  height: number;
  bytes: number;
  /** Lower-case hex. */
  sha256: string;
  /** Absolute path, inside the output directory. */
  path: string;
};

export type Rendered = {
  /** Width of the original in pixels, as it is to be seen (EXIF orientation applied). */
  width: number;
  height: number;
  /** Base64 of the ThumbHash: some 25 bytes that give a blurred placeholder. */
  thumbhash: string;
  /** The original has further frames; the renditions show the first. */
  animated: boolean;
  renditions: Rendition[];
};

/** Each code with the sentence that the author of the post reads. */
export const FAILURES = {
  PICTURE_UNREADABLE: "The picture is damaged or incomplete.",
  PICTURE_TOO_LARGE: "The picture has too many pixels.",
  PICTURE_FORMAT_UNSUPPORTED: "The file is not a picture of a supported format.",
  PICTURE_TIMEOUT: "The picture took too long to process.",
  DECODER_CRASHED: "The picture could not be processed.",
  PICTURE_QUARANTINED: "The picture stopped the server's decoder again and again, and is not tried any more.",
  PROCESSING_FAILED: "The server failed on the picture. Its operator can try it again.",
} as const;

export type PictureErrorCode = keyof typeof FAILURES;

/**
 * A picture that gave no renditions. `message` is for the author of the post, `detail` for the log: it holds the
 * decoder's own words, which mean nothing to an author and may name paths of the server.
 */
export class PictureError extends Error {
  readonly code: PictureErrorCode;
  readonly detail: string;

  constructor(code: PictureErrorCode, detail: string) {
    super(FAILURES[code]);
    this.name = "PictureError";
    this.code = code;
    this.detail = detail;
  }
}

/** Parent to child: one file. The next is sent only after the answer, so that neither carries an id. */
export type RenderRequest = { inputPath: string; outputDir: string } & RenderLimits;

/**
 * Child to parent: `accepted` when its decoder is loaded, before it opens the file; then one of the others. `broken` is no fault of the picture:
 * a full disk, a file that is not there. Its `code` is the system's (ENOSPC) or "".
 */
export type RenderReply =
  | { outcome: "accepted" }
  | { outcome: "rendered"; rendered: Rendered }
  | { outcome: "refused"; code: PictureErrorCode; detail: string }
  | { outcome: "broken"; detail: string; code: string };
