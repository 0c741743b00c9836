import type { BenchDatabase } from "../../../src/bench/database.ts";
import { judged, type Ratio } from "../../../src/bench/report.ts";
import { feedPage } from "../store.ts";
import type { Dataset, DeepViewer } from "./dataset.ts";
import { FEED } from "./verify.ts";

const LIMIT = 20;
const DEEP = 1_000;
const GOAL = 1.3;

interface Measured {
  name: DeepViewer["name"];
  /** 1,000, or the last one of a feed that is shorter. */
  page: number;
  first: number;
  deep: number;
}

/** Buffers that the product's query reads for page 1,000 against page 1, for followers of busy, average and rare authors. */
export async function measureDeepPages(
  database: BenchDatabase,
  dataset: Dataset,
): Promise<{ ratio: Ratio; figures: Record<string, number> }> {
  const measured: Measured[] = [];
  for (const { name, user } of dataset.deep) {
    const viewerId = dataset.idOf(user);
    const { rows: counted } = await database.client.query<{ posts: number }>(
      `SELECT count(*)::int AS posts FROM (${FEED}) AS feed`,
      [viewerId],
    );
    const page = Math.max(1, Math.min(DEEP, Math.floor((counted[0]?.posts ?? 0) / LIMIT)));
    const { rows } = await database.client.query<{ id: string; published_at: Date }>(`${FEED} OFFSET $2 LIMIT 1`, [
      viewerId,
      Math.max(0, (page - 1) * LIMIT - 1),
    ]);
    const last = rows[0];
    const buffers = (after: { at: Date; id: string } | null) =>
      database.buffersOf((db) => feedPage(db, viewerId, { limit: LIMIT + 1, after }));
    const first = await buffers(null);
    measured.push({
      name,
      page,
      first,
      deep: last && page > 1 ? await buffers({ at: last.published_at, id: last.id }) : first,
    });
  }
  const worst = measured.reduce((a, b) => (b.deep / b.first > a.deep / a.first ? b : a));
  return {
    ratio: judged({
      name: "feed_deep_page_vs_first",
      value: worst.deep / worst.first,
      goal: GOAL,
      at_most: true,
      reference: { name: `page 1 of a follower of ${worst.name} authors`, value: worst.first, unit: "buffers" },
      measured: { value: worst.deep, unit: "buffers" },
    }),
    figures: Object.fromEntries(
      measured.flatMap(({ name, page, deep, first }) => [
        [`deep_page_of_${name}`, page],
        [`deep_vs_first_of_${name}`, deep / first],
      ]),
    ),
  };
}
