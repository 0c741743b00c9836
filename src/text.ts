/** A text of nothing but space says nothing. Other space is the author's own. */
export function blankToNull(text: string | null | undefined): string | null {
  return text?.trim() ? text : null;
}
