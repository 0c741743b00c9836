import { invalidValue } from "../../src/http/errors.ts";
import { nameFrom } from "../../src/http/names.ts";

/** Code points that a name may have. */
export const NAME_LENGTH = 60;

/** A name as it is shown, and as it is compared: in any case, and in whatever way its characters are composed. */
export interface CollectionName {
  name: string;
  folded: string;
}

/** @throws 422 for a name of nothing, or one that cannot be shown in a line. */
export function collectionName(text: string): CollectionName {
  const name = nameFrom(text, { of: "the name of a collection", length: NAME_LENGTH });
  // In the path of a URL these mean another path, whatever they are written as.
  if (name === "." || name === "..") throw invalidValue({ reason: "a collection cannot be named by dots alone" });
  return { name, folded: fold(name) };
}

/** The folded name that a path or query gives; one that no collection can have is nobody's. */
export function fold(text: string): string {
  const name = text.normalize("NFC").trim();
  // Up and down: ß and ẞ, and the three sigmas, become one.
  return name.isWellFormed() ? name.toUpperCase().toLowerCase().normalize("NFC").replaceAll("\0", "\ufffd") : "";
}
