/** Plain columns: a heading line and one line a row, numbers to the right; a dash where there is no value. */
export function formatTable<Row extends object>(
  rows: readonly Row[],
  columns: ReadonlyArray<keyof Row & string>,
): string {
  if (rows.length === 0) return "(none)";
  const cells = rows.map((row) => columns.map((column) => show(row[column])));
  const numeric = columns.map((column) => rows.every((row) => row[column] === null || typeof row[column] === "number"));
  const heading = columns.map((column) => column.replaceAll("_", " ").toUpperCase());
  const widths = columns.map((_, index) => Math.max(...[heading, ...cells].map((line) => line[index]?.length ?? 0)));
  return [heading, ...cells]
    .map((line) =>
      line
        .map((cell, index) => (numeric[index] ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function show(value: unknown): string {
  if (value === null || value === undefined) return "-";
  if (value instanceof Date) return value.toISOString();
  // What a client sent must not steer the operator's terminal, nor turn its text around.
  return (typeof value === "object" ? JSON.stringify(value) : String(value)).replace(/[\p{Cc}\p{Bidi_C}]+/gu, " ");
}
