/** Media: uploads, processing and delivery of pictures. */
export {
  createMedium,
  discardOriginals,
  Medium,
  removeMedia,
  type ShownMedium,
  storeOriginals,
  toMedium,
} from "./media.ts";
export type { Failure } from "./store.ts";
export { receiveUpload, type Upload, type UploadRules } from "./upload.ts";
