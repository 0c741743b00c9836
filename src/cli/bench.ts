import { Flags } from "@oclif/core";
import type { Report } from "../bench/report.ts";
import { BaseCommand } from "./base.ts";

/** What every `bench` command shares: the report as a table or JSON, and `--enforce`. */
export abstract class BenchCommand extends BaseCommand {
  static override baseFlags = {
    ...BaseCommand.baseFlags,
    enforce: Flags.boolean({ description: "exit 1 when a goal does not hold", helpGroup: "GLOBAL" }),
  };

  protected async report(report: Report, { enforce }: { enforce: boolean }): Promise<Report> {
    const { formatReport } = await import("../bench/report.ts");
    this.log(formatReport(report));
    if (enforce && report.ratios.some(({ holds }) => !holds)) process.exitCode = 1;
    return report;
  }
}
