/** Media: uploads, processing and delivery of pictures. */
export {
  ALT_TEXT_LENGTH,
  createMedia,
  discardOriginals,
  Medium,
  removeMedia,
  retireMedia,
  type ShownMedium,
  storeOriginals,
  toMedium,
} from "./media.ts";
export type { Failure, MediumRow } from "./store.ts";
export { pictureEntry, picturePath, type TakenMedium } from "./takeout.ts";
export { largestUpload, receiveUpload, type Upload, type UploadRules } from "./upload.ts";
