import { createHash } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { type S3Service, s3Client } from "./services.ts";

/** For TINTYPE_S3_*. */
export function s3Environment(service: S3Service, endpoint = service.endpoint): Record<string, string> {
  return {
    TINTYPE_S3_ENDPOINT: endpoint,
    TINTYPE_S3_REGION: service.region,
    TINTYPE_S3_BUCKET: service.bucket,
    TINTYPE_S3_ACCESS_KEY: service.accessKey,
    TINTYPE_S3_SECRET_KEY: service.secretKey,
  };
}

/** The hash of every object in the bucket by its key, and with `!` in its place every upload that is not complete. */
export async function bucketContent(service: S3Service): Promise<Record<string, string>> {
  const s3 = s3Client(service);
  const content: Record<string, string> = {};
  for await (const { name } of s3.listObjectsV2(service.bucket, "", true)) {
    // What the look for readiness writes and removes, again and again.
    if (name === "tintype-check") continue;
    const bytes = await buffer(await s3.getObject(service.bucket, name));
    content[name] = createHash("sha256").update(bytes).digest("hex");
  }
  for await (const { key } of s3.listIncompleteUploads(service.bucket, "", true)) content[key] = "!";
  return content;
}
