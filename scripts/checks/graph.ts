/** Who points to whom: a node's name → the names it points to. */
export type Graph = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * One shortest cycle for each knot of the graph, as the names along it with the first one repeated at the end.
 * A knot of many cycles gives one: cut it and look again.
 */
export function findCycles(graph: Graph): string[][] {
  const cycles: string[][] = [];
  const inKnownKnot = new Set<string>();
  for (const start of graph.keys()) {
    if (inKnownKnot.has(start)) continue;
    const cycle = shortestPath(graph, start, start);
    if (!cycle) continue;
    cycles.push(cycle);
    for (const node of knotOf(graph, start)) inKnownKnot.add(node);
  }
  return cycles;
}

/** The shortest way along at least one arrow, both ends included; undefined if there is none. */
export function shortestPath(graph: Graph, from: string, to: string): string[] | undefined {
  const cameFrom = walk(graph, from);
  if (!cameFrom.has(to)) return undefined;
  const path = [to];
  for (let node = cameFrom.get(to); node !== undefined; node = node === from ? undefined : cameFrom.get(node)) {
    path.unshift(node);
  }
  return path;
}

/** Every node that can be reached from `start`, with its predecessor on a shortest way there. */
export function walk(graph: Graph, start: string): Map<string, string> {
  const cameFrom = new Map<string, string>();
  const queue = [start];
  for (const node of queue) {
    for (const next of graph.get(node) ?? []) {
      if (cameFrom.has(next)) continue;
      cameFrom.set(next, node);
      queue.push(next);
    }
  }
  return cameFrom;
}

function knotOf(graph: Graph, start: string): string[] {
  return [...walk(graph, start).keys()].filter((node) => walk(graph, node).has(start));
}
