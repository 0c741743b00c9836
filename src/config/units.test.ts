import fc from "fast-check";
import t from "tap";
import { formatDuration, formatSize, limit, parseDuration, parseSize, sizeLimit } from "./units.ts";

t.test("durations and sizes", async (t) => {
  const durations: Array<[text: string, milliseconds: number | undefined]> = [
    ["500ms", 500],
    ["5s", 5000],
    ["10m", 600_000],
    ["24h", 86_400_000],
    ["7d", 604_800_000],
    ["0s", 0],
    ["10M", 600_000],
    ["5", undefined],
    ["s", undefined],
    ["1.5h", undefined],
    ["-5s", undefined],
    ["5 s", undefined],
    ["5w", undefined],
    ["5kb", undefined],
    ["1h30m", undefined],
    ["5constructor", undefined],
    ["9007199254740992ms", undefined],
  ];
  for (const [text, expected] of durations) t.equal(parseDuration(text), expected, text);
  const sizes: Array<[text: string, bytes: number | undefined]> = [
    ["1b", 1],
    ["500kb", 512_000],
    ["20mb", 20_971_520],
    ["1gb", 1_073_741_824],
    ["20MB", 20_971_520],
    ["20", undefined],
    ["20m", undefined],
    ["1.5gb", undefined],
    ["", undefined],
  ];
  for (const [text, expected] of sizes) t.equal(parseSize(text), expected, text);
  t.equal(formatDuration(90_000), "90s");
  t.equal(formatDuration(0), "0ms");
  t.equal(formatSize(1536), "1536b");

  const pairs = [
    { units: ["ms", "s", "m", "h", "d"], parse: parseDuration, format: formatDuration },
    { units: ["b", "kb", "mb", "gb"], parse: parseSize, format: formatSize },
  ];
  for (const { units, parse, format } of pairs) {
    fc.assert(
      fc.property(fc.nat({ max: 1_000_000 }), fc.constantFrom(...units), (digits, unit) => {
        const value = parse(`${digits}${unit}`);
        const shown = format(value ?? Number.NaN);
        // The same value, and one text for it, never longer than what was written.
        return parse(shown) === value && format(parse(shown) ?? Number.NaN) === shown;
      }),
    );
    fc.assert(fc.property(fc.maxSafeNat(), (value) => parse(format(value)) === value));
  }
});

t.test("limits", async (t) => {
  const facts = { description: "", default: null };
  const { parse, format } = limit(facts).setting;
  for (const [text, most, window, shown] of [
    ["30/1h", 30, 3_600_000, "30/1h"],
    [" 5/60s ", 5, 60_000, "5/1m"],
    ["1000000000/30d", 1_000_000_000, 2_592_000_000, "1000000000/30d"],
    ["0", 0, 0, "0"],
    ["0/1h", 0, 0, "0"],
    [0, 0, 0, "0"],
  ] as const) {
    t.same(parse(text), { most, window }, `${text}`);
    t.equal(format(parse(text)), shown);
  }
  for (const wrong of [
    "",
    "30",
    "30/",
    "/1h",
    "30/1h/1h",
    "-1/1h",
    "1.5/1h",
    "30 / 1h",
    "30/999ms",
    "30/31d",
    "1mb/1h",
    30,
  ]) {
    t.equal(parse(wrong), undefined, `${wrong}`);
  }
  const bytes = sizeLimit(facts).setting;
  t.same(bytes.parse("2gb/1d"), { most: 2 * 1024 ** 3, window: 86_400_000 });
  t.equal(bytes.format(bytes.parse("2048mb/24h")), "2gb/1d");
  t.equal(bytes.parse("30/1h"), undefined);
});
