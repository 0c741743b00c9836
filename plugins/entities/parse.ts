import { tooManyHashtags, tooManyMentions } from "./errors.ts";

/** What a text says beside its words, before anybody knows who is meant. Offsets are code points, `end` is exclusive. */
export type Parsed = { text: string; start: number; end: number } & (
  | { type: "hashtag"; tag: string }
  /** Names that may be meant, the longest first: a dot at the end is part of the name, or ends the sentence. */
  | { type: "mention"; names: string[] }
);

const MOST_HASHTAGS = 30;
const MOST_MENTIONS = 20;
/** Code points of a hashtag, without its sign, as it is looked up. */
const TAG_LENGTH = 100;

/**
 * UAX #31, R8 (hashtag identifiers), without the + and - of its default: letters, marks and digits of every script, the
 * underscore, and emoji with what joins them. A mark is not the first: U+FE0F and U+20E3 make a keycap of the sign itself. Nor is
 * an emoji among them that is punctuation in its one form (‼ and ⁉).
 */
const WORD = "\\p{XID_Continue}";
const EMOJI = "\\p{Extended_Pictographic}\\u{1F1E6}-\\u{1F1FF}";
const JOINERS = "\\u{200C}\\u{200D}\\u{FE0F}\\u{1F3FB}-\\u{1F3FF}";
const PUNCTUATION = "\\u{203C}\\u{2049}";
const TAG = `(?![\\p{Mark}${PUNCTUATION}])[${WORD}${EMOJI}](?:(?![${PUNCTUATION}])[${WORD}${EMOJI}${JOINERS}])*`;
/** One or more in a row. Not in the middle of a word, of an address (`/#top`) or of an HTML entity (`&#39;`). */
const HASHTAGS = new RegExp(`(?<![${WORD}&/])(?:[#＃]${TAG})+`, "gu");
const HASHTAG = new RegExp(`[#＃]${TAG}`, "gu");
const WHOLE_TAG = new RegExp(`^[#＃]?(${TAG})$`, "u");
/** ❤ and ❤️ are one tag. */
const VARIATIONS = /\p{Variation_Selector}/gu;
/** Scripts that write no space between words: there a name ends where they begin. */
const UNSPACED = ["Han", "Hira", "Kana", "Thai", "Laoo", "Khmr", "Mymr"].map((script) => `\\p{scx=${script}}`).join("");
const OTHER_WORD = `[\\p{XID_Continue}--[${UNSPACED}]]`;
/**
 * Not in an email address or a path, and not the beginning of a longer word. The dot ends no name that goes on: of
 * `@ana.smithé` nothing is a name, and not `ana`.
 */
const MENTION = new RegExp(`(?<![${OTHER_WORD}@\\/])[@＠]([A-Za-z0-9._]+)(?![${OTHER_WORD}@.])`, "gv");

/**
 * The hashtags and mentions of a text, in their order.
 * @throws 422 for more than 30 hashtags or 20 mentions.
 */
export function parseEntities(text: string): Parsed[] {
  const parsed = entitiesIn(text);
  const count = (type: Parsed["type"]) => parsed.filter((entity) => entity.type === type).length;
  if (count("hashtag") > MOST_HASHTAGS) throw tooManyHashtags({ limit: MOST_HASHTAGS });
  if (count("mention") > MOST_MENTIONS) throw tooManyMentions({ limit: MOST_MENTIONS });
  return parsed;
}

/** The first 30 hashtags and 20 mentions of a text that was taken when nobody counted them, in their order. */
export function firstEntities(text: string): Parsed[] {
  const left = { hashtag: MOST_HASHTAGS, mention: MOST_MENTIONS };
  return entitiesIn(text).filter(({ type }) => left[type]-- > 0);
}

function entitiesIn(text: string): Parsed[] {
  const found = [...hashtags(text), ...mentions(text)].sort((one, other) => one.at - other.at);
  const parsed: Parsed[] = [];
  let [at, points] = [0, 0];
  for (const { at: start, ...entity } of found) {
    points += lengthOf(text.slice(at, start));
    at = start;
    parsed.push({ ...entity, start: points, end: points + lengthOf(entity.text) });
  }
  return parsed;
}

/**
 * A hashtag as it is looked up: without its sign, in one form of letters, of case and of emoji. Null if the text is no hashtag, or
 * that form is none.
 */
export function normalizeTag(text: string): string | null {
  const tag = WHOLE_TAG.exec(text)?.[1];
  if (tag === undefined) return null;
  // Once more at the end: what a letter is in lower case may be composed.
  const form = tag.replace(VARIATIONS, "").normalize("NFKC").toLowerCase().normalize("NFKC");
  return lengthOf(form) <= TAG_LENGTH && WHOLE_TAG.exec(form)?.[1] === form ? form : null;
}

function* hashtags(text: string) {
  for (const row of text.matchAll(HASHTAGS)) {
    for (const match of row[0].matchAll(HASHTAG)) {
      const [text] = match;
      const tag = normalizeTag(text);
      if (tag !== null) yield { type: "hashtag" as const, text, at: row.index + match.index, tag };
    }
  }
}

function* mentions(text: string) {
  for (const match of text.matchAll(MENTION)) {
    const [whole, typed = ""] = match;
    const bare = typed.replace(/\.+$/, "");
    const names = Array.from({ length: typed.length - bare.length + 1 }, (_, dots) =>
      typed.slice(0, typed.length - dots).toLowerCase(),
    ).filter((name) => name.length >= 3 && name.length <= 30);
    if (names.length > 0) yield { type: "mention" as const, text: whole, at: match.index, names };
  }
}

function lengthOf(text: string): number {
  return [...text].length;
}
