import { Histogram } from "prom-client";
import { registry } from "../../src/metrics.ts";

export const imageProcessing = new Histogram({
  name: "instagram_image_processing_seconds",
  help: "Image processing duration",
  buckets: [0.5, 1, 2, 5, 10, 30],
  registers: [registry],
});
