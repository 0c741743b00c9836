import t from "tap";
import { exactly } from "../../test/support/exactly.ts";
import { load, mistakes } from "../../test/support/product/config.ts";

const S3 = {
  TINTYPE_S3_ENDPOINT: "http://127.0.0.1:9000",
  TINTYPE_S3_ACCESS_KEY: "AKIA",
  TINTYPE_S3_SECRET_KEY: "hunter2",
};

t.test("an S3 store needs an address and a key with its secret", async (t) => {
  t.match(load({ env: S3 }).config.s3, {
    endpoint: "http://127.0.0.1:9000",
    region: "us-east-1",
    bucket: "tintype-media",
    access_key: "AKIA",
    secret_key: "hunter2",
    timeout: 2_500,
  });
  t.equal(load({ env: { TINTYPE_S3_BUCKET: "photos" } }).config.s3.endpoint, null, "a name alone means nothing yet");
  t.same(mistakes({ env: { TINTYPE_S3_ENDPOINT: S3.TINTYPE_S3_ENDPOINT } }), [
    "s3.access_key and s3.secret_key are missing: an S3 store needs s3.endpoint, s3.access_key, s3.secret_key; set all of them or none",
  ]);
  t.same(mistakes({ env: { ...S3, TINTYPE_S3_ENDPOINT: "" } }), [
    "s3.endpoint is missing: an S3 store needs s3.endpoint, s3.access_key, s3.secret_key; set all of them or none",
  ]);
  for (const endpoint of ["127.0.0.1:9000", "s3://photos", "http://minio/photos", "http://me:secret@minio"]) {
    t.match(
      mistakes({ env: { ...S3, TINTYPE_S3_ENDPOINT: endpoint } }),
      exactly(/^s3\.endpoint: .* without a path/),
      endpoint,
    );
  }
  for (const bucket of ["ab", "Photos", "photos_", "-photos", "a..b"]) {
    t.match(mistakes({ env: { ...S3, TINTYPE_S3_BUCKET: bucket } }), exactly(/^s3\.bucket: .* 3 to 63 of a-z/), bucket);
  }
});

t.test("pictures are redirected to a store only", async (t) => {
  t.same(mistakes({ env: { TINTYPE_DELIVERY_BY: "redirect" } }), [
    "delivery.by is redirect, but there is no S3 store to redirect to; set s3.endpoint, or delivery.by to serve or accel",
  ]);
  t.equal(load({ env: { ...S3, TINTYPE_DELIVERY_BY: "redirect" } }).config.delivery.by, "redirect");
  t.equal(load({ env: { TINTYPE_DELIVERY_BY: "accel" } }).config.delivery.by, "accel");
});
