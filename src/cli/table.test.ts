import t from "tap";
import { formatTable } from "./table.ts";

t.test("columns are aligned: text to the left, numbers to the right", async (t) => {
  const rows = [
    { name: "media.process", waiting: 12, oldest_seconds: null, at: new Date(0) },
    { name: "a", waiting: 3, oldest_seconds: 1.5, at: null },
  ];
  t.equal(
    formatTable(rows, ["name", "waiting", "oldest_seconds", "at"]),
    `NAME           WAITING  OLDEST SECONDS  AT
media.process       12               -  1970-01-01T00:00:00.000Z
a                    3             1.5  -`,
  );
  t.equal(formatTable([], ["name" as never]), "(none)");
});

t.test("what a client sent does not steer the terminal", async (t) => {
  const hostile = "a\u001b[2Jb\nc\u009bd\u202ee\u0000";
  for (const row of [{ text: hostile }, { text: { caption: hostile } }, { text: [hostile] }]) {
    const shown = formatTable([row], ["text"]);
    t.equal(shown.split("\n").length, 2);
    t.notMatch(shown.replace("\n", ""), /[\p{Cc}\p{Bidi_C}]/u);
    t.match(shown, /a.*b.*c.*d.*e/);
  }
});
