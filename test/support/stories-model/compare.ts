import type { World } from "../feed-model/world.ts";
import { type StoriesModel, shownAudience, storedAudience } from "./model.ts";

const RENDITIONS = ["thumbnail", "small", "medium", "large"];

/**
 * Compares rows and objects with the model, after a cleanup without grace and when no job is left to do; then forgets what is
 * gone.
 * @param options.begun when the cleanup began, by the database's clock: what ended later may be there or not.
 */
export async function compareStored(
  world: World,
  model: StoriesModel,
  { objects, begun }: { objects(world: World): Promise<string[]>; begun: number },
): Promise<void> {
  const { sql, command } = world;
  const audience = shownAudience(await storedAudience(sql));
  if (audience !== shownAudience(model.audience)) throw new Error(`the rows say ${audience}`);

  const { rows } = await sql.query(
    `SELECT stories.id, medium_id, status, view_count, (
       SELECT coalesce(json_agg(username || ' ' || coalesce(reaction, 'null') ORDER BY username), '[]')
       FROM story_views JOIN users ON users.id = viewer_id WHERE story_id = stories.id) AS views FROM stories`,
  );
  const { rowCount: strays } = await sql.query(
    "SELECT FROM story_views WHERE NOT EXISTS (SELECT FROM stories WHERE id = story_id)",
  );
  if (strays) throw new Error(`${strays} views of stories that are gone`);
  const stored = new Map(rows.map((row) => [String(row.id), row]));
  const keys: string[] = [];
  const { rows: times } = await sql.query("SELECT now()");
  for (const story of model.stories.values()) {
    const row = stored.get(story.id);
    stored.delete(story.id);
    const expires = story.published?.expires ?? 0;
    const isOverAt = (time: number) => story.deleted || (!story.kept && expires <= time);
    if (row === undefined && !isOverAt(times[0].now.getTime())) throw new Error(`${story.id} was removed`);
    if (row && isOverAt(begun)) throw new Error(`${story.id} is to be gone, and its row is ${row.status}`);
    if (!row) {
      model.stories.delete(story.id);
      continue;
    }
    const views = [...story.viewers].map(([name, { reaction }]) => `${name} ${reaction}`).sort();
    if (String(row.views) !== String(views) || row.view_count !== views.length) {
      throw new Error(`${story.id} has views ${row.views}, counted ${row.view_count}, and not ${views}`);
    }
    const id = String(row.medium_id);
    keys.push(`originals/${id.slice(-2)}/${id}`);
    for (const name of RENDITIONS) keys.push(`renditions/${id.slice(-2)}/${id}/${name}.webp`);
  }
  if (stored.size > 0) throw new Error(`nobody posted ${[...stored.keys()]}`);

  const { rowCount: media } = await sql.query("SELECT FROM media");
  if (media !== keys.length / 5) throw new Error(`${media} media of ${keys.length / 5} stories`);
  const found = (await objects(world)).sort();
  if (String(found) !== String(keys.sort())) throw new Error(`the store has ${found}, and not ${keys}`);
  const counters = await command("counters", "verify", "--json");
  if (counters.code !== 0) throw new Error(`counters verify: ${counters.code} ${counters.stdout} ${counters.stderr}`);
}
