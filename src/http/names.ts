import { invalidValue } from "./errors.ts";

/**
 * A name that somebody gives to a thing of theirs, as it is kept: composed in one way, without space around it.
 * @param options.of such as `the name of a collection`. @param options.length code points that it may have.
 * @throws 422 for a name of nothing, or one that cannot be shown in a line.
 */
export function nameFrom(text: string, { of, length }: { of: string; length: number }): string {
  const name = text.normalize("NFC").trim();
  if ([...name].length === 0 || [...name].length > length) {
    throw invalidValue({ reason: `${of} has 1 to ${length} characters` });
  }
  if (/[\p{Cc}\p{Cs}]/u.test(name)) throw invalidValue({ reason: `${of} has no control characters` });
  return name;
}
