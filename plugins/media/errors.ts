import { defineError } from "../../src/http/errors.ts";

export const mediumNotFound = defineError("MEDIA_NOT_FOUND", 404, "There is no such picture.");
export const fileTooLarge = defineError(
  "FILE_TOO_LARGE",
  413,
  "{name} is larger than the {limit} that a picture may have.",
);
export const uploadTooLarge = defineError("UPLOAD_TOO_LARGE", 413, "The whole upload is larger than {limit}.");
export const unsupportedFormat = defineError(
  "UNSUPPORTED_FORMAT",
  415,
  "{name} is of a kind that is not taken here ({seen}). Send JPEG, PNG, WebP, GIF, AVIF or HEIC.",
);
export const emptyFile = defineError("EMPTY_FILE", 422, "{name} is empty.");
export const tooManyPixels = defineError(
  "TOO_MANY_PIXELS",
  422,
  "{name} has {width} × {height} pixels; at most {limit} in all are taken. Send a smaller version.",
);
export const pictureQuarantined = defineError(
  "PICTURE_QUARANTINED",
  422,
  "Picture {position} of the upload has stopped this server's decoder again and again, and is not taken any more.",
);
export const mediaMissing = defineError(
  "MEDIA_MISSING",
  422,
  "The upload has no picture. Send pictures as files in the field {field}, {limit} at most.",
);
export const tooManyMedia = defineError(
  "TOO_MANY_MEDIA",
  422,
  "The upload has more pictures than the {limit} that are taken at once.",
);
export const quotaExceeded = defineError(
  "QUOTA_EXCEEDED",
  422,
  "Your pictures take {used} of the {quota} bytes that they may take; this upload does not fit. Delete some posts first.",
  { passes: true },
);
export const uploadsBusy = defineError(
  "UPLOADS_BUSY",
  503,
  "Too many uploads are under way. Try again when one of them has ended.",
);
export const uploadIncomplete = defineError(
  "UPLOAD_INCOMPLETE",
  400,
  "The upload ended before its end. Send it again.",
);
