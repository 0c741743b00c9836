import fc from "fast-check";
import t from "tap";
import { exactly } from "../../test/support/exactly.ts";
import { normalizeTag, parseEntities } from "./parse.ts";

/** Each entity as it is cut out of the text by its offsets, which are code points. */
function cut(text: string): string[] {
  return parseEntities(text).map(({ type, start, end, text: written }) => {
    const slice = [...text].slice(start, end).join("");
    t.equal(slice, written, `${text}: its offsets`);
    return `${type} ${slice}`;
  });
}

t.test("what is a hashtag, and what is a mention", async (t) => {
  const cases: [text: string, found: string[]][] = [
    ["", []],
    ["no # and no @", []],
    ["#one", ["hashtag #one"]],
    ["#one#two, (#three) #four.", ["hashtag #one", "hashtag #two", "hashtag #three", "hashtag #four"]],
    ["#2024 #a_b #a-b", ["hashtag #2024", "hashtag #a_b", "hashtag #a"]],
    [
      "#été #Ελλάδα #日本 #हिन्दी #café",
      ["hashtag #été", "hashtag #Ελλάδα", "hashtag #日本", "hashtag #हिन्दी", "hashtag #café"],
    ],
    ["＃全角 #سفر‌نامه", ["hashtag ＃全角", "hashtag #سفر‌نامه"]],
    ["press #️⃣ now, #1️⃣ #\u0301a", ["hashtag #1️"]],
    ["#‼️ #⁉ #wow‼️ #ﾞ", ["hashtag #wow"]],
    [`#${"ﬃ".repeat(33)} #${"ﬃ".repeat(34)}`, [`hashtag #${"ﬃ".repeat(33)}`]],
    ["🌅🌅 #🌅 #👩‍👩‍👧 after", ["hashtag #🌅", "hashtag #👩‍👩‍👧"]],
    ["a#b &#39; https://x.org/#top ##", []],
    [`#${"x".repeat(100)} #${"y".repeat(101)}`, [`hashtag #${"x".repeat(100)}`]],
    ["hi @ana, @Bob.Ross! (@c_d)", ["mention @ana", "mention @Bob.Ross", "mention @c_d"]],
    ["ana@example.org @ab @@ana x/@ana @anaé", []],
    ["@ana.smithé @ana.smith@example.org @ana._é @ana.muñoz", []],
    ["@ana.smithさん、こんにちは@bobです", ["mention @ana.smith", "mention @bob"]],
    [`@${"a".repeat(30)} @${"b".repeat(31)}`, [`mention @${"a".repeat(30)}`]],
    ["🌅 @ana #one", ["mention @ana", "hashtag #one"]],
  ];
  for (const [text, found] of cases) t.strictSame(cut(text), found, text);
});

t.test("a dot at the end may be of the name or of the sentence", async (t) => {
  t.match(parseEntities("with @ana.."), exactly({ names: exactly("ana..", "ana.", "ana"), start: 5, end: 11 }));
});

t.test("hashtags are looked up in one form", async (t) => {
  t.equal(normalizeTag("#Été"), normalizeTag("e\u0301te\u0301"));
  t.equal(normalizeTag("ＳＵＮ"), "sun");
  for (const text of ["", "#", "two words", "a-b", "@ana", "x".repeat(101), "\ud800"])
    t.equal(normalizeTag(text), null, text);
  t.match(parseEntities("#Sun"), exactly({ text: "#Sun", tag: "sun" }));
  t.match(parseEntities("#❤ #❤\ufe0f"), exactly({ tag: "❤" }, { tag: "❤" }));
});

t.test("the form of a hashtag is its own form, whatever it is made of", async (t) => {
  const alone = Array.from({ length: 0x110000 }, (_, code) => code)
    .filter((code) => code < 0xd800 || code > 0xdfff)
    .map((code) => String.fromCodePoint(code));
  const forms = (texts: string[]) => texts.map(normalizeTag).filter((tag) => tag !== null);
  const single = forms(alone);
  t.ok(single.length > 100_000);
  t.strictSame(
    single.filter((tag) => normalizeTag(tag) !== tag),
    [],
  );
  const usable = alone.filter((text) => normalizeTag(`a${text}`) !== null);
  const point = fc.oneof(
    fc.constantFrom(..."aΣİſﬃﾞำ‼⁉™❤\u0301\u0307\u3099\u200c\u200d\ufe0f\u{e0100}\u{1f3fb}🌅한ㄱᆨㅤ㎏"),
    fc.nat(usable.length - 1).map((place) => usable[place] ?? ""),
  );
  fc.assert(
    fc.property(fc.array(point, { minLength: 1, maxLength: 8 }), (points) => {
      const tag = normalizeTag(points.join(""));
      t.equal(tag === null ? null : normalizeTag(tag), tag);
    }),
    { seed: 7, numRuns: 2_000 },
  );
});

t.test("30 hashtags and 20 mentions at most", async (t) => {
  t.equal(parseEntities("#a ".repeat(30) + "@ana ".repeat(20)).length, 50);
  t.throws(() => parseEntities("#a ".repeat(31)), { code: "TOO_MANY_HASHTAGS", status: 422 });
  t.throws(() => parseEntities("@ana ".repeat(21)), { code: "TOO_MANY_MENTIONS", status: 422 });
});
