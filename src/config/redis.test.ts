import t from "tap";
import { exactly } from "../../test/support/exactly.ts";
import { load, mistakes } from "../../test/support/product/config.ts";
import { settings } from "./schema.ts";

t.test("the address of a Redis", async (t) => {
  for (const url of [
    "redis://localhost",
    "redis://:p%40ss@127.0.0.1:7000/3",
    "rediss://user:hunter2@redis.example.com:6380/",
    "redis://[::1]:6379",
  ]) {
    t.equal(load({ env: { TINTYPE_REDIS_URL: url } }).config.redis.url, url);
  }
  for (const url of ["localhost:6379", "http://x", "redis://", "redis://x/photos", "redis://x?db=1", "redis://a:%@x"]) {
    t.same(
      mistakes({ env: { TINTYPE_REDIS_URL: url } }),
      [
        "redis.url: TINTYPE_REDIS_URL in the environment is [redacted]; it must be a URL that begins with redis:// or rediss://, such as redis://:password@host:6379/0",
      ],
      url,
    );
  }
  const setting = settings().find(({ name }) => name === "redis.url");
  t.equal(setting?.format("redis://:hunter2@x:6379"), "redis://:[redacted]@x:6379");
});

t.test("what keys begin with", async (t) => {
  for (const prefix of ["", "photos:", "a.b-c_d:1:"]) {
    t.equal(load({ env: { TINTYPE_REDIS_KEY_PREFIX: prefix } }).config.redis.key_prefix, prefix);
  }
  // Braces would be the tag by which a cluster spreads keys, and a star would match others' keys.
  for (const prefix of ["a b", "{x}", "*", "x".repeat(65)]) {
    t.match(mistakes({ env: { TINTYPE_REDIS_KEY_PREFIX: prefix } }), exactly(/at most 64 letters/), prefix);
  }
});
