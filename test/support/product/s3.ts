import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { openS3Store, prepareBucket } from "../../../src/drivers/media/s3.ts";
import type { MediaStore } from "../../../src/ports/media.ts";
import { temporaryFolder } from "../server.ts";
import { removeBucket, type S3Service } from "../services.ts";

type Test = Parameters<typeof temporaryFolder>[0];

export type S3Config = Parameters<typeof openS3Store>[0];

/** The driver's configuration for a bucket of a test. @param s3 what is to be otherwise. */
export async function s3Config(t: Test, service: S3Service, s3: Partial<S3Config["s3"]> = {}): Promise<S3Config> {
  const data_dir = await temporaryFolder(t);
  await mkdir(join(data_dir, "staging"));
  const { endpoint, region, bucket, accessKey, secretKey } = service;
  const credentials = { access_key: accessKey, secret_key: secretKey };
  return {
    data_dir,
    s3: { endpoint, region, bucket, ...credentials, public_endpoint: null, timeout: 3_000, ...s3 },
  };
}

/** A store on an empty bucket of the test's own, which goes with it. */
export async function s3Store(t: Test, service: S3Service, s3: Partial<S3Config["s3"]> = {}): Promise<MediaStore> {
  const config = await s3Config(t, service, s3);
  await prepareBucket(config, { make: true });
  const store = openS3Store(config);
  t.teardown(async () => {
    await store.close();
    await removeBucket({ ...service, bucket: config.s3.bucket });
  });
  return store;
}
