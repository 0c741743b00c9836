import { type CompiledQuery, Kysely, type LogEvent, PostgresDialect } from "kysely";
import type pg from "pg";
import type { Schema } from "../../src/db/schema.ts";
import type { Db } from "../../src/db/transaction.ts";

/** How one statement ran. */
export interface Explained {
  rows: number;
  /** Pages of 8 KiB that were asked for, found in memory or not. */
  buffers: number;
  milliseconds: number;
  /** How often an index-only scan had to look at the table, because the page was not known to be visible to all. */
  heapFetches: number;
  /** One line a node: its type and index, rows, loops and buffers, its children's included. */
  plan: string;
  /** As Postgres writes it. */
  text: string;
}

/** A node of `EXPLAIN (FORMAT JSON)`, as far as it is looked at. */
interface PlanNode {
  "Node Type": string;
  "Parent Relationship"?: string;
  "Subplan Name"?: string;
  "Index Name"?: string;
  "Relation Name"?: string;
  "CTE Name"?: string;
  "Actual Rows": number;
  "Actual Loops": number;
  "Heap Fetches"?: number;
  "Shared Hit Blocks": number;
  "Shared Read Blocks": number;
  "Temp Read Blocks": number;
  "Temp Written Blocks": number;
  Plans?: PlanNode[];
}

/** A database whose last statements are known, with their parameters, as they were sent. */
export interface RecordingDatabase {
  readonly db: Db;
  readonly pool: pg.Pool;
  readonly statements: CompiledQuery[];
}

export function recordingDatabase(pool: pg.Pool): RecordingDatabase {
  const statements: CompiledQuery[] = [];
  const log = (event: LogEvent): void => {
    if (!/^(begin|commit)$/.test(event.query.sql)) statements.push(event.query);
  };
  return { db: new Kysely<Schema>({ dialect: new PostgresDialect({ pool }), log }), pool, statements };
}

/**
 * Runs a query function, then explains the statement that it sent: the same text with the same parameters over the
 * same protocol, so that the planner decides as it does for the product. Having run before, it finds its pages in memory.
 * @param undo takes back what the statement changes, after each time that it runs.
 */
export async function explain(
  { db, pool, statements }: RecordingDatabase,
  query: (db: Db) => Promise<unknown>,
  undo: string | null = null,
): Promise<Explained> {
  const back = async () => {
    if (undo !== null) await pool.query(undo);
  };
  statements.length = 0;
  await query(db);
  await back();
  const [statement, ...others] = statements;
  if (!statement || others.length > 0) throw new Error(`one statement was expected, not ${statements.length}`);
  const values = [...statement.parameters];
  const written = await pool.query<{ "QUERY PLAN": string }>({
    text: `EXPLAIN (ANALYZE, BUFFERS) ${statement.sql}`,
    values,
  });
  await back();
  const measured = await pool.query<{ "QUERY PLAN": [{ Plan: PlanNode; "Execution Time": number }] }>({
    text: `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${statement.sql}`,
    values,
  });
  await back();
  const explained = measured.rows[0]?.["QUERY PLAN"][0];
  if (!explained) throw new Error("EXPLAIN said nothing");
  return {
    rows: explained.Plan["Actual Rows"],
    buffers: buffersOf(explained.Plan),
    milliseconds: explained["Execution Time"],
    heapFetches: flatten(explained.Plan).reduce((sum, node) => sum + (node["Heap Fetches"] ?? 0), 0),
    plan: render(explained.Plan).join("\n"),
    text: written.rows.map((row) => row["QUERY PLAN"]).join("\n"),
  };
}

const buffersOf = (node: PlanNode) =>
  node["Shared Hit Blocks"] + node["Shared Read Blocks"] + node["Temp Read Blocks"] + node["Temp Written Blocks"];

const flatten = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(flatten)];

function render(node: PlanNode, depth = 0): string[] {
  const scanned = node["Index Name"] ?? node["Relation Name"] ?? node["CTE Name"];
  const name = [node["Subplan Name"], [node["Node Type"], scanned].filter(Boolean).join(" ")]
    .filter(Boolean)
    .join(": ");
  const facts = [
    `rows ${format(node["Actual Rows"])}`,
    ...(node["Actual Loops"] === 1 ? [] : [`loops ${format(node["Actual Loops"])}`]),
    `buffers ${format(buffersOf(node))}`,
    ...(node["Heap Fetches"] ? [`heap fetches ${format(node["Heap Fetches"])}`] : []),
  ];
  return [
    `${"  ".repeat(depth)}${name} (${facts.join(", ")})`,
    ...(node.Plans ?? []).flatMap((child) => render(child, depth + 1)),
  ];
}

const format = (value: number) => value.toLocaleString("en", { maximumFractionDigits: 1 });
