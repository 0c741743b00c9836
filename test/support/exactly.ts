/**
 * A pattern for `t.match` that wants these elements and no more: of an array literal it is content with the first ones, and
 * `[]` matches every array.
 */
export function exactly(...elements: readonly unknown[]): object {
  return { ...elements, length: elements.length };
}
