import { Counter, Gauge } from "prom-client";
import { registry } from "../../src/metrics.ts";

export const storiesCreated = new Counter({
  name: "instagram_stories_created_total",
  help: "Total stories created",
  registers: [registry],
});

export const storiesCleanedUp = new Counter({
  name: "instagram_stories_cleaned_up_total",
  help: "Stories that this process has cleaned up",
  registers: [registry],
});

export const storiesOverdue = new Gauge({
  name: "tintype_stories_overdue",
  help: "Stories that should have been cleaned up more than two hours ago, when this process last looked; it counts no further than 10001",
  registers: [registry],
});

export const storyViews = new Counter({
  name: "instagram_story_views_total",
  help: "Views of stories that the viewer had not seen",
  registers: [registry],
});

export const storyViewsRepeated = new Counter({
  name: "instagram_story_views_duplicate_total",
  help: "Views of stories that the viewer had seen already, and of one's own",
  registers: [registry],
});

export const storyViewsSpared = new Counter({
  name: "tintype_story_views_spared_total",
  help: "Those of the views above that were answered by Redis and not by Postgres",
  registers: [registry],
});
