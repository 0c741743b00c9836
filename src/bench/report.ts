import { availableParallelism, cpus, totalmem } from "node:os";
import { VERSION } from "../version.ts";

/** A claim about speed: what was measured, as a multiple of a reference that was measured in the same run. */
export interface Ratio {
  name: string;
  value: number;
  goal: number;
  /** The goal is an upper bound; else it is a lower one. */
  at_most?: true;
  holds: boolean;
  reference: { name: string; value: number; unit: string };
  measured: { value: number; unit: string };
}

export interface Report {
  bench: string;
  started_at: string;
  machine: { cpu: string; cores: number; memory_bytes: number; node: string; tintype: string };
  /** Absolute figures of this machine at this hour, by name with their unit: for comparison, not for claims. */
  figures: Record<string, number>;
  ratios: Ratio[];
}

/** The ratio with what follows from its value and its goal. */
export function judged(ratio: Omit<Ratio, "holds">): Ratio {
  const { value, goal, at_most } = ratio;
  return { ...ratio, holds: at_most ? value <= goal : value >= goal };
}

export function describeMachine(): Report["machine"] {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    memory_bytes: totalmem(),
    node: process.versions.node,
    tintype: VERSION,
  };
}

/** The report as people read it. */
export function formatReport({ bench, machine, figures, ratios }: Report): string {
  const figureLines = Object.entries(figures).map(([name, value]) => `  ${name.padEnd(32)} ${round(value)}`);
  const ratioLines = ratios.map(
    ({ name, value, goal, at_most, holds, measured, reference }) =>
      `  ${name.padEnd(32)} ${round(value)}  goal ${at_most ? "≤ " : ""}${goal}  ${holds ? "holds" : "DOES NOT HOLD"}\n` +
      `    ${round(measured.value)} ${measured.unit} against ${round(reference.value)} ${reference.unit} of ${reference.name}`,
  );
  return [
    `bench ${bench} on ${machine.cores} × ${machine.cpu}, ${(machine.memory_bytes / 2 ** 30).toFixed(1)} GiB, Node ${machine.node}`,
    "",
    ...figureLines,
    "",
    ...ratioLines,
  ].join("\n");
}

function round(value: number): string {
  return value >= 100 ? String(Math.round(value)) : value.toPrecision(3);
}
