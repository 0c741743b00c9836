import { join, posix, relative, sep } from "node:path";
import type { Node, SourceFile, Statement } from "typescript/unstable/ast";
import { SyntaxKind } from "typescript/unstable/ast";
import * as is from "typescript/unstable/ast/is";
import { API } from "typescript/unstable/sync";

/** One thing that is wrong. `file` is relative to the project's root, `line` counts from 1. */
export interface Finding {
  readonly file: string;
  readonly line?: number;
  readonly message: string;
}

/** An `import`, `export … from`, `import()` or `import("…")` type. Type-only ones count: an arrow is an arrow. */
export interface Import {
  readonly specifier: string;
  readonly line: number;
  /** The imported file relative to the root; undefined for packages and `node:` modules. */
  readonly target: string | undefined;
}

/** What the checks need to know of one source file. */
export interface Source {
  /** Relative to the root, with forward slashes. */
  readonly path: string;
  readonly imports: readonly Import[];
  /** Lines that read `process.env`, in any spelling. */
  readonly environmentReads: readonly number[];
  /** Lines of top-level statements that exist at run time, i.e. are not only types. */
  readonly runtimeStatements: readonly number[];
}

/**
 * Parses every file of the TypeScript project at `root` (its tsconfig.json decides which).
 *
 * The parser is TypeScript's own: a syntax tree sees through comments, strings and line breaks, where regular
 * expressions do not. dependency-cruiser cannot read TypeScript together with TypeScript 7.
 */
export function readSources(root: string): Source[] {
  const api = new API({ cwd: root });
  try {
    const config = join(root, "tsconfig.json");
    const project = api.updateSnapshot({ openProject: config }).getProject(config);
    if (!project) throw new Error(`cannot open ${config}`);
    return project.rootFiles.map((file) => {
      const tree = project.program.getSourceFile(file);
      if (!tree) throw new Error(`cannot parse ${file}`);
      return describe(relative(root, file).split(sep).join("/"), tree);
    });
  } finally {
    api.close();
  }
}

function describe(path: string, tree: SourceFile): Source {
  const lineOf = (node: Node) => tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1;
  const environmentReads: number[] = [];
  const visit = (node: Node): void => {
    if (readsEnvironment(node)) environmentReads.push(lineOf(node));
    node.forEachChild(visit);
  };
  visit(tree);
  return {
    path,
    imports: tree.imports.flatMap((node) => {
      if (!isText(node)) return [];
      const target = node.text.startsWith(".") ? posix.join(posix.dirname(path), node.text) : undefined;
      return [{ specifier: node.text, line: lineOf(node), target }];
    }),
    environmentReads,
    runtimeStatements: tree.statements.filter((statement) => !isTypeOnly(statement)).map(lineOf),
  };
}

const isText = (node: Node) => is.isStringLiteral(node) || is.isNoSubstitutionTemplateLiteral(node);

function isTypeOnly(statement: Statement): boolean {
  if (is.isImportDeclaration(statement)) return statement.importClause?.phaseModifier === SyntaxKind.TypeKeyword;
  if (is.isExportDeclaration(statement)) return statement.isTypeOnly;
  return is.isInterfaceDeclaration(statement) || is.isTypeAliasDeclaration(statement);
}

/** `process.env`, `process["env"]`, `{ env } = process` and `import { env } from "node:process"`. */
function readsEnvironment(node: Node): boolean {
  if (is.isPropertyAccessExpression(node)) return isProcess(node.expression) && node.name.text === "env";
  if (is.isElementAccessExpression(node)) {
    const key = node.argumentExpression;
    return isProcess(node.expression) && isText(key) && key.text === "env";
  }
  if (is.isVariableDeclaration(node)) {
    if (!node.initializer || !isProcess(node.initializer) || !is.isObjectBindingPattern(node.name)) return false;
    return node.name.elements.some((element) => isNamed(element.propertyName ?? element.name, "env"));
  }
  if (is.isImportDeclaration(node)) {
    if (!isText(node.moduleSpecifier) || !/^(?:node:)?process$/.test(node.moduleSpecifier.text)) return false;
    const names = node.importClause?.namedBindings;
    return names !== undefined && is.isNamedImports(names) && names.elements.some(importsEnv);
  }
  return false;
}

const importsEnv = (element: { propertyName?: Node; name: Node }) =>
  isNamed(element.propertyName ?? element.name, "env");

const isNamed = (node: Node | undefined, name: string) =>
  node !== undefined && is.isIdentifier(node) && node.text === name;

/** `process`, and `globalThis.process`. */
const isProcess = (node: Node) =>
  isNamed(node, "process") || (is.isPropertyAccessExpression(node) && isNamed(node.name, "process"));
