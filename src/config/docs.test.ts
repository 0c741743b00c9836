import t from "tap";
import { exactly } from "../../test/support/exactly.ts";
import { FEATURES, load, POSTGRES, withFile } from "../../test/support/product/config.ts";
import { describeConfig, renderConfigurationDocs } from "./docs.ts";
import { RESERVED } from "./names.ts";
import { envName, settings } from "./schema.ts";
import { redactUrl } from "./units.ts";

t.test("describing what holds", async (t) => {
  const loaded = load({ env: { TINTYPE_DATABASE_URL: POSTGRES, TINTYPE_HTTP_IDLE_TIMEOUT: "90000ms" } });
  const described = describeConfig(loaded);
  t.same(
    described.map(({ name }) => name),
    settings().map(({ name }) => name),
  );
  t.notMatch(JSON.stringify(described), "hunter2");
  const values: Array<[name: string, value: string, source: string]> = [
    ["port", "3000", "default"],
    ["features", FEATURES.known.join(","), "default"],
    ["database.url", "postgres://tintype:[redacted]@db.example.com:5432/tintype", "env"],
    ["worker.embedded", "false", "default"],
    ["worker.port", "none", "default"],
    ["media.max_photo", "20mb", "default"],
    ["http.idle_timeout", "90s", "env"],
    ["http.trust_proxy", "none", "default"],
  ];
  for (const [name, value, source] of values) {
    t.match(
      described.find((row) => row.name === name),
      { env: envName(name), value, source, description: /\.$/ },
      name,
    );
  }
  const urls: Array<[url: string, shown: string]> = [
    ["postgres://db/x", "postgres://db/x"],
    ["postgres://me@db/x", "postgres://me@db/x"],
    ["postgres://me:a@b:c@db/x", "postgres://me:[redacted]@db/x"],
    [
      "postgres:///x?host=/run&user=me&password=a&sslmode=require",
      "postgres:///x?host=/run&user=me&password=[redacted]&sslmode=require",
    ],
    ["postgres://db/x?p%61ssword=a", "postgres://db/x?p%61ssword=[redacted]"],
    ["postgres://db:5432/x?application_name=a@b", "postgres://db:5432/x?application_name=a@b"],
  ];
  for (const [url, shown] of urls) t.equal(redactUrl(url), shown);
});

t.test("the documentation", async (t) => {
  const docs = renderConfigurationDocs();
  for (const { name, env } of settings()) t.ok(docs.includes(`| \`${name}\` | \`${env}\` |`), name);
  for (const name of RESERVED) t.ok(docs.includes(envName(name)), name);
  t.notMatch(docs, /undefined|\[object|NaN/);
  const example = /```toml\n(.*?)\n```/s.exec(docs)?.[1] ?? "";
  t.match(load(withFile(t, example)), {
    config: { public_url: "https://photos.example.com", http: { trust_proxy: exactly("10.0.0.0/8") } },
    warnings: exactly(),
  });
});
