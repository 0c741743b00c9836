import { findCycles, type Graph, shortestPath, walk } from "./graph.ts";
import type { Finding, Import, Source } from "./project.ts";

/** The architecture's rules on who may import whom. Test files obey the same ones, but may use test/. */
export function checkArrows(sources: readonly Source[]): Finding[] {
  return sources.flatMap((source) =>
    source.imports.flatMap((imported) => {
      const message = imported.target === undefined ? undefined : forbidden(source.path, imported.target);
      return message === undefined ? [] : [{ file: source.path, line: imported.line, message }];
    }),
  );
}

const ROOMS = ["bin", "src", "plugins", "scripts", "test"] as const;
type Room = (typeof ROOMS)[number];

const roomOf = (path: string): Room | undefined => ROOMS.find((room) => path.startsWith(`${room}/`));

/** The feature a file belongs to; undefined outside of plugins/ and for the list plugins/index.ts. */
const featureOf = (path: string) => /^plugins\/([^/]+)\//.exec(path)?.[1];

const isTest = (path: string) => path.endsWith(".test.ts") || path.startsWith("test/");

function forbidden(from: string, to: string): string | undefined {
  const [fromRoom, toRoom] = [roomOf(from), roomOf(to)];
  if (to.endsWith(".test.ts")) return `${to} is a test file; put what is shared into test/support/`;
  if (fromRoom === "src" && (toRoom === "plugins" || toRoom === "bin")) {
    return `src/ is the platform and imports no ${toRoom}/: ${to}`;
  }
  if (fromRoom === "plugins" && toRoom === "bin") return `features do not import bin/: ${to}`;
  if (isProduct(from) && (toRoom === "test" || toRoom === "scripts")) return `the product imports no ${toRoom}/: ${to}`;
  if (fromRoom === "plugins" && toRoom === "plugins") return forbiddenBetweenFeatures(from, to);
  return undefined;
}

const isProduct = (path: string) =>
  (path.startsWith("src/") || path.startsWith("plugins/") || path.startsWith("bin/")) && !isTest(path);

function forbiddenBetweenFeatures(from: string, to: string): string | undefined {
  const [own, other] = [featureOf(from), featureOf(to)];
  if (own === other || own === undefined) return undefined;
  if (other === undefined) return isTest(from) ? undefined : `a feature does not know the list of features: ${to}`;
  if (to === `plugins/${other}/index.ts`) return undefined;
  return `${to} is private to ${other}; features meet only at plugins/${other}/index.ts`;
}

/** No file imports itself, over however many others. */
export function checkImportCycles(sources: readonly Source[]): Finding[] {
  return findCycles(importGraph(sources)).map((cycle) => ({
    file: cycle[0] ?? "",
    message: `import cycle: ${cycle.join(" → ")}`,
  }));
}

/** Features form an order too, even where their files form no cycle. What tests import does not count. */
export function checkFeatureCycles(sources: readonly Source[]): Finding[] {
  const graph = new Map<string, Set<string>>();
  for (const source of sources) {
    const from = featureOf(source.path);
    if (from === undefined || isTest(source.path)) continue;
    const others = graph.get(from) ?? new Set();
    graph.set(from, others);
    for (const { target } of source.imports) {
      const to = target && featureOf(target);
      if (to && to !== from) others.add(to);
    }
  }
  return findCycles(graph).map((cycle) => ({
    file: `plugins/${cycle[0]}`,
    message: `cycle of features: ${cycle.join(" → ")}; let one of them emit an event that the other handles`,
  }));
}

/** Acceptance tests, and those of faults, know the product from outside only: neither they nor their helpers import any of it. */
export function checkAcceptanceTests(sources: readonly Source[]): Finding[] {
  const graph = importGraph(sources);
  const tests = sources.filter(({ path }) => /^test\/(?:acceptance|faults)\//.test(path));
  return tests.flatMap((test) => {
    const ofPackage = test.imports.filter((imported) => /^(?:tintype(?:\/|$)|#)/.test(imported.specifier));
    const reached = [...walk(graph, test.path).keys()].filter((path) => !isOutside(path));
    return [
      ...ofPackage.map((imported) => inside(test.path, imported, imported.specifier)),
      ...reached.map((path) => {
        const way = shortestPath(graph, test.path, path) ?? [];
        return inside(test.path, importOf(test, way[1]), way.slice(1).join(" → "));
      }),
    ];
  });
}

const isOutside = (path: string) =>
  /^test\/(?:acceptance|faults|support)\//.test(path) && !path.startsWith("test/support/product/");

const importOf = (source: Source, target: string | undefined) =>
  source.imports.find((imported) => imported.target === target);

const inside = (file: string, imported: Import | undefined, what: string): Finding => ({
  file,
  ...(imported && { line: imported.line }),
  message: `an acceptance test imports only test/support/, node: and packages, not ${what}`,
});

function importGraph(sources: readonly Source[]): Graph {
  return new Map(
    sources.map((source) => [
      source.path,
      new Set(source.imports.flatMap(({ target }) => (target === undefined ? [] : [target]))),
    ]),
  );
}

/** Ports are interfaces and prose: a driver must not be able to inherit behaviour from its port. */
export function checkPorts(sources: readonly Source[]): Finding[] {
  return sources
    .filter((source) => source.path.startsWith("src/ports/") && !isTest(source.path))
    .flatMap((source) =>
      source.runtimeStatements.map((line) => ({
        file: source.path,
        line,
        message: "a port holds types only (interface, type, import type)",
      })),
    );
}

const READS_ENVIRONMENT = "src/config/load.ts";

/** The environment is one of the sources of the configuration and is read where those are merged. */
export function checkEnvironment(sources: readonly Source[]): Finding[] {
  return sources
    .filter((source) => isProduct(source.path) && source.path !== READS_ENVIRONMENT)
    .flatMap((source) =>
      source.environmentReads.map((line) => ({
        file: source.path,
        line,
        message: `only ${READS_ENVIRONMENT} reads process.env; take it from the configuration`,
      })),
    );
}
