/**
 * The same answer for whoever asks within `interval` milliseconds of its end. While it is being found there is no other
 * search, however long that takes.
 */
export function seldom<T>(find: () => Promise<T>, interval: number): () => Promise<T> {
  let latest: Promise<T> | undefined;
  let until = 0;
  return () => {
    if (latest && performance.now() < until) return latest;
    until = Number.POSITIVE_INFINITY;
    latest = find().finally(() => {
      until = performance.now() + interval;
    });
    return latest;
  };
}
