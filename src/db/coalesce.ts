/** Reads the values of these keys in one query. A key that has no value is left out of the answer. */
export type Load<Key, Value> = (keys: readonly Key[]) => Promise<ReadonlyMap<Key, Value>>;

interface Waiting<Value> {
  promise: Promise<Value | undefined>;
  resolve(value: Value | undefined): void;
  reject(error: unknown): void;
}

/**
 * Makes one query at a time out of reads that come all at once: while one is under way, whoever asks waits for the next,
 * which answers all of them. A key that a thousand ask for at the same time is read twice and not a thousand times.
 *
 * An answer is read by a query that begins after it was asked for, never by one that was already under way: what the
 * caller has committed is in it. Nothing is kept afterwards; this is no cache.
 *
 * Several callers of one answer share its values: they must not change them.
 *
 * @param load is never called twice at once, nor with a key twice, nor with more than `batch` keys. What it throws
 * reaches all who wait for that query, and nobody else. It must end some day: the pool's `query_timeout` sees to that.
 * @param options.batch the most keys of one query; what there is beyond goes into those that follow, first come, first served.
 * @returns a function of keys (primitives; repeats are taken once) that gives a map of those that have a value.
 */
export function coalesce<Key, Value>(
  load: Load<Key, Value>,
  { batch }: { batch: number },
): (keys: readonly Key[]) => Promise<Map<Key, Value>> {
  const waiting = new Map<Key, Waiting<Value>>();
  let running = false;

  const run = async () => {
    running = true;
    while (waiting.size > 0) {
      const taken = new Map([...waiting].slice(0, batch));
      for (const key of taken.keys()) waiting.delete(key);
      try {
        const values = await load([...taken.keys()]);
        for (const [key, { resolve }] of taken) resolve(values.get(key));
      } catch (error) {
        for (const { reject } of taken.values()) reject(error);
      }
    }
    running = false;
  };

  return async (keys) => {
    const distinct = [...new Set(keys)];
    const promises = distinct.map((key) => {
      const known = waiting.get(key) ?? Promise.withResolvers<Value | undefined>();
      waiting.set(key, known);
      return known.promise;
    });
    if (!running) void run();
    const values = await Promise.all(promises);
    const found = new Map<Key, Value>();
    for (const [index, key] of distinct.entries()) {
      const value = values[index];
      if (value !== undefined) found.set(key, value);
    }
    return found;
  };
}
