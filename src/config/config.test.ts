import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import t from "tap";
import { Check } from "typebox/schema";
import { exactly } from "../../test/support/exactly.ts";
import { EMPTY, FEATURES, load, mistakes, POSTGRES, withFile } from "../../test/support/product/config.ts";
import { defaultPublicUrl, type LoadedConfig } from "./load.ts";
import { ConfigSchema, envName, settings } from "./schema.ts";

function valueIn(loaded: LoadedConfig, name: string): unknown {
  return name.split(".").reduce<unknown>((scope, key) => Reflect.get(Object(scope), key), loaded.config);
}

const hourly = (most: number) => ({ most, window: 3_600_000 });

t.test("without any setting", async (t) => {
  const loaded = load({ machine: { cores: 3, memory: 64 * 1024 ** 3 } });
  t.same(loaded.config, {
    host: "127.0.0.1",
    port: 3000,
    public_url: "http://127.0.0.1:3000",
    data_dir: join(EMPTY, "tintype-data"),
    features: FEATURES.known,
    registration: "open",
    database: { url: null, pool_max: 10, statement_timeout: 30_000, migrate: "auto" },
    redis: { url: null, key_prefix: "" },
    feed: { fanout_threshold: 10_000, pool_max: 4 },
    worker: { embedded: true, concurrency: 3, port: null },
    media: {
      max_photo: 20 * 1024 ** 2,
      max_pixels: 50_000_000,
      decode_timeout: 20_000,
      decoder_memory: 1024 ** 3,
      uploads: 256,
      uploads_per_account: 128,
      public_base_url: null,
      store: "filesystem",
      migrate_from: null,
      originals: "keep",
      quota: null,
      staging_max_age: 86_400_000,
    },
    delivery: { by: "serve", accel_location: "/tintype-media/" },
    s3: {
      endpoint: null,
      region: "us-east-1",
      bucket: "tintype-media",
      access_key: null,
      secret_key: null,
      public_endpoint: null,
      timeout: 2_500,
    },
    limits: {
      ...{ enabled: true, follow: hourly(30), post: hourly(10), like: hourly(100), comment: hourly(50) },
      ...{ login: { most: 5, window: 60_000 }, password: { most: 5, window: 60_000 }, login_account: hourly(50) },
      ...{ registration: hourly(50), recovery: hourly(30), search: { most: 1_000, window: 60_000 } },
      upload: { most: 5 * 1024 ** 3, window: 86_400_000 },
    },
    http: {
      body_limit: 65_536,
      header_timeout: 10_000,
      idle_timeout: 60_000,
      request_timeout: 600_000,
      trust_proxy: [],
      cors_origins: [],
    },
    accounts: {
      session_lifetime: 90 * 86_400_000,
      username_hold: 14 * 86_400_000,
      deleted_username_hold: 30 * 86_400_000,
    },
    smtp: { url: null, from: null },
    stories: { lifetime: 86_400_000, cleanup_grace: 3_600_000 },
    exports: { lifetime: 7 * 86_400_000 },
    log: { level: "info", format: "json" },
    shutdown: { timeout: 20_000 },
  });
  const here = load().config.worker.concurrency;
  t.ok(here >= 1 && here <= availableParallelism(), `on this machine ${here}`);
  t.ok(Check(ConfigSchema, loaded.config));
  t.same(loaded.sources, Object.fromEntries(settings().map(({ name }) => [name, "default"])));
  t.same([loaded.file, loaded.warnings], [null, []]);
});

t.test("every setting", async (t) => {
  t.equal(new Set(settings().map(({ env }) => env)).size, settings().length, "has a variable of its own");
  for (const setting of settings()) {
    t.match(setting.name, /^[a-z0-9_]+(\.[a-z_]+)?$/);
    t.equal(setting.env, envName(setting.name));
    t.match(setting.description, /^\S.*\.$/, `${setting.name} is described`);
    if (setting.default === null) t.type(setting.otherwise, "string", `${setting.name} says what holds by default`);
    else t.ok(Check(setting.schema, setting.parse(setting.default)), `${setting.name}'s default is valid`);
  }
  t.equal(settings().find(({ name }) => name === "data_dir")?.flag, "data-dir");
  t.same(
    settings()
      .filter(({ secret }) => secret)
      .map(({ name }) => name),
    ["database.url", "redis.url", "s3.secret_key", "smtp.url"],
  );
});

t.test("what is taken from the environment", async (t) => {
  const cases: Array<[name: string, input: string, value: unknown]> = [
    ["host", "::", "::"],
    ["host", " photos.internal ", "photos.internal"],
    ["port", "0", 0],
    ["port", "65535", 65_535],
    ["public_url", "https://example.com/photos", "https://example.com/photos"],
    ["public_url", "https://example.com/", "https://example.com"],
    ["http.cors_origins", "*", ["*"]],
    ["data_dir", "/srv/data", "/srv/data"],
    ["data_dir", "data", join(EMPTY, "data")],
    ["registration", "CLOSED", "closed"],
    ["registration", "invite", "invite"],
    ["database.url", POSTGRES, POSTGRES],
    ["database.url", "postgresql:///tintype?host=/run/postgresql", "postgresql:///tintype?host=/run/postgresql"],
    ["database.url", "postgres://me@/tintype", "postgres://me@/tintype"],
    ["database.migrate", "never", "never"],
    ["worker.embedded", "0", false],
    ["worker.embedded", "No", false],
    ["worker.embedded", "FALSE", false],
    ["worker.concurrency", "3", 3],
    ["worker.port", "9100", 9100],
    ["media.max_photo", "1mb", 1_048_576],
    ["http.trust_proxy", "10.0.0.0/8, ::1,192.168.1.4,", ["10.0.0.0/8", "::1", "192.168.1.4"]],
    [
      "http.cors_origins",
      "https://app.example.com,http://localhost:5173",
      ["https://app.example.com", "http://localhost:5173"],
    ],
    ["accounts.session_lifetime", "7d", 604_800_000],
    ["log.format", "pretty", "pretty"],
  ];
  for (const [name, input, expected] of cases) {
    const loaded = load({ env: { [envName(name)]: input } });
    t.same(valueIn(loaded, name), expected, `${name}=${input}`);
    t.equal(loaded.sources[name], "env");
  }
  for (const [input, expected] of [
    ["true", true],
    ["1", true],
    ["yes", true],
    ["false", false],
  ] as const) {
    const env = { TINTYPE_WORKER_EMBEDDED: input, TINTYPE_DATABASE_URL: POSTGRES };
    t.equal(load({ env }).config.worker.embedded, expected, input);
  }
  const empty = load({
    env: {
      TINTYPE_PORT: "",
      TINTYPE_DATABASE_URL: " ",
      TINTYPE_REALTIME_PORT: "",
      TINTYPE_CONFIG: "",
      TINTYPE_NONSENSE: "",
    },
  });
  t.same(empty, load(), "an empty variable is one that is not set");
  t.same(
    load({ env: { TINTYPE_TEST_ANYTHING: "1", PORT: "x", TINTYPES: "x" } }),
    load(),
    "what is not ours is left alone",
  );
});

t.test("what is refused, with the setting, the place, the value and what is wanted", async (t) => {
  const cases: Array<[name: string, input: string, wanted: string]> = [
    ["host", "http://example.com", "an IP address or a host name, without scheme, port or brackets"],
    ["host", "127.0.0.1:3000", "an IP address or a host name"],
    ["host", "[::1]", "an IP address or a host name"],
    ["port", "65536", "a whole number from 0 to 65535"],
    ["port", "-1", "a whole number from 0 to 65535"],
    ["port", "3000.5", "a whole number from 0 to 65535"],
    ["port", "0x50", "a whole number from 0 to 65535"],
    ["port", "http", "a whole number from 0 to 65535"],
    ["public_url", "example.com", "an absolute http:// or https:// URL"],
    ["public_url", "ftp://example.com", "an absolute http:// or https:// URL"],
    ["public_url", "https://example.com?x=1", "an absolute http:// or https:// URL"],
    ["public_url", "https://", "an absolute http:// or https:// URL"],
    ["registration", "ask", "one of open, invite, closed"],
    ["accounts.username_hold", "14", "a duration from 100ms to 3650d"],
    ["database.pool_max", "1", "a whole number from 2 to 1000"],
    [
      "database.statement_timeout",
      "30",
      'a duration from 100ms to 1h, a number and its unit (ms, s, m, h, d) such as "30s"',
    ],
    ["database.statement_timeout", "2h", "a duration from 100ms to 1h"],
    ["worker.embedded", "on", "true or false"],
    ["media.max_photo", "20", 'a size from 1kb to 1gb, a number and its unit (b, kb, mb, gb) such as "20mb"'],
    ["media.max_photo", "2gb", "a size from 1kb to 1gb"],
    ["http.trust_proxy", "10.0.0.0/8,proxy", "a list of IP addresses or CIDR ranges"],
    ["http.trust_proxy", "0.0.0.0/0", "a list of IP addresses or CIDR ranges"],
    ["http.trust_proxy", "10.0.0.0/33", "a list of IP addresses or CIDR ranges"],
    ["http.cors_origins", "https://app.example.com/", "a list of origins such as"],
    ["http.cors_origins", "*.example.com", "a list of origins such as"],
    ["log.level", "verbose", "one of trace, debug, info, warn, error, fatal, silent"],
  ];
  for (const [name, input, wanted] of cases) {
    const [line = "", ...others] = mistakes({ env: { [envName(name)]: input } });
    t.ok(line.startsWith(`${name}: ${envName(name)} in the environment is "${input}"; it must be `), line);
    t.ok(line.includes(wanted), line);
    t.same(others, []);
  }
  t.match(
    mistakes({ flags: { port: "x" } }),
    exactly('port: --port is "x"; it must be a whole number from 0 to 65535'),
  );
  t.match(mistakes({ flags: { host: "" } }), exactly(/^host: --host is ""/));
  t.same(mistakes({ flags: { prot: "1" } }), ["--prot is not a setting"]);
});

t.test("no secret in a message", async (t) => {
  for (const url of ["mysql://tintype:hunter2@db/x", "hunter2", "postgres://tintype:hunter2@db:port/x"]) {
    t.same(mistakes({ env: { TINTYPE_DATABASE_URL: url } }), [
      "database.url: TINTYPE_DATABASE_URL in the environment is [redacted]; it must be a URL that begins with postgres:// or postgresql://, such as postgres://user:password@host:5432/database",
    ]);
  }
  const misplaced = mistakes({ env: { TINTYPE_PUBLIC_URL: POSTGRES, TINTYPE_DATABASE_URI: POSTGRES } }).join("\n");
  t.match(misplaced, "did you mean TINTYPE_DATABASE_URL?");
  t.notMatch(misplaced, "hunter2");
  const { cwd } = withFile(t, `database.url = "${POSTGRES}\n`);
  t.notMatch(mistakes({ cwd }).join("\n"), "hunter2", "a syntax error does not quote the file");
});

t.test("flags win over the environment, that over the file, that over the defaults", async (t) => {
  const text = 'host = "10.0.0.3"\nport = 3003\nregistration = "closed"\n[log]\nlevel = "warn"\n';
  const { cwd, file } = withFile(t, text);
  const loaded = load({
    cwd,
    env: { TINTYPE_HOST: "10.0.0.2", TINTYPE_PORT: "3002", TINTYPE_LOG_FORMAT: "pretty" },
    flags: { host: "10.0.0.1", "data-dir": undefined },
  });
  t.match(loaded.config, {
    host: "10.0.0.1",
    port: 3002,
    registration: "closed",
    log: { level: "warn", format: "pretty" },
  });
  t.match(loaded.sources, {
    host: "flag",
    port: "env",
    registration: "file",
    "log.level": "file",
    "log.format": "env",
    "media.max_photo": "default",
    data_dir: "default",
  });
  t.equal(loaded.file, file);
});

t.test("the file", async (t) => {
  t.test("takes native values and strings", async (t) => {
    const { cwd } = withFile(
      t,
      [
        'port = 8080\nfeatures = ["likes"]\n[worker]\nembedded = false\nconcurrency = "2"',
        '[http]\ntrust_proxy = ["::1"]\ncors_origins = "https://a.example,https://b.example"\nidle_timeout = "90s"',
        "[media]\nmax_pixels = 1_000_000\n[shutdown]",
      ].join("\n"),
    );
    const { config } = load({ cwd });
    t.match(config, {
      port: 8080,
      features: exactly(...FEATURES.core, "likes"),
      worker: { embedded: false, concurrency: 2 },
    });
    t.same(config.http.trust_proxy, ["::1"]);
    t.same(config.http.cors_origins, ["https://a.example", "https://b.example"]);
    t.match(config, { http: { idle_timeout: 90_000 }, media: { max_pixels: 1_000_000 } });
  });

  t.test("is refused where it is wrong", async (t) => {
    const cases: Array<[text: string, mistake: string]> = [
      ["port = true", "port: port in FILE is true; it must be a whole number"],
      ["port = 1.5", "port: port in FILE is 1.5; it must be a whole number"],
      ["port = nan", "port: port in FILE is NaN; it must be a whole number"],
      ["port = 2024-01-01", 'port: port in FILE is "2024-01-01"; it must be a whole number'],
      ["host = 127", "host: host in FILE is 127; it must be"],
      ['host = ""', 'host: host in FILE is ""; it must be'],
      ['features = ["likes", 1]', 'features: features in FILE is ["likes",1]; it must be a list of names'],
      ["worker.embedded = 1", "worker.embedded: worker.embedded in FILE is 1; it must be true or false"],
      ["[http]\nidle_timeout = 60", "http.idle_timeout: http.idle_timeout in FILE is 60; it must be a duration"],
      ["[media]\nmax_photo = 20000000", "media.max_photo: media.max_photo in FILE is 20000000; it must be a size"],
      ["database = 5", "database in FILE is a section of settings and cannot have a value; write [database]"],
      ["[[http]]\nbody_limit = 1", "http in FILE is a section of settings"],
      ["[databse]\nurl = 'x'", "databse.url in FILE is not a setting; did you mean database.url?"],
      ["[http]\nbody-limit = '1mb'", "http.body-limit in FILE is not a setting; did you mean http.body_limit?"],
      ["[nonsense]", "nonsense in FILE is not a setting"],
      ["[host]\nname = 'x'", "host.name in FILE is not a setting"],
      [
        "[s3]\nbucket = 'Photos'",
        's3.bucket: s3.bucket in FILE is "Photos"; it must be 3 to 63 of a-z, 0-9, dot and hyphen',
      ],
      ["port = 1\nport = 2", "FILE:2:1: Invalid TOML document: "],
    ];
    for (const [text, mistake] of cases) {
      const { cwd, file } = withFile(t, text);
      const [line = "", ...others] = mistakes({ cwd });
      t.ok(line.startsWith(mistake.replace("FILE", file)), line);
      t.same(others, []);
    }
  });

  t.test("is the named one, else tintype.toml", async (t) => {
    const { cwd } = withFile(t, "port = 1");
    mkdirSync(join(cwd, "etc"));
    writeFileSync(join(cwd, "etc", "two.toml"), 'port = 2\ndata_dir = "data"');
    writeFileSync(join(cwd, "three.toml"), "port = 3");
    t.equal(load({ cwd }).config.port, 1);
    const two = load({ cwd, env: { TINTYPE_CONFIG: "etc/two.toml" } });
    t.equal(two.config.port, 2);
    t.equal(two.file, join(cwd, "etc", "two.toml"));
    t.equal(two.config.data_dir, join(cwd, "etc", "data"), "its paths start where it lies");
    t.equal(load({ cwd, env: { TINTYPE_CONFIG: "etc/two.toml" }, configFile: "three.toml" }).config.port, 3);
    for (const missing of [{ env: { TINTYPE_CONFIG: "none.toml" } }, { configFile: "none.toml" }]) {
      t.match(mistakes({ cwd, ...missing }), exactly(/none\.toml cannot be read: ENOENT/));
    }
    t.match(mistakes({ cwd, configFile: "etc" }), exactly(/etc cannot be read: EISDIR/));
  });
});

t.test("all mistakes of all sources come in one message", async (t) => {
  const { cwd, file } = withFile(t, 'port = "file"\nhots = "x"\n[http]\nheader_timeout = "20m"');
  const env = {
    TINTYPE_PORT: "env",
    TINTYPE_HOTS: "x",
    TINTYPE_S3_BUCKET: "x",
    TINTYPE_DATABASE_URL: "x",
    TINTYPE_REALTIME_PORT: "x",
  };
  const all = mistakes({ cwd, env, flags: { port: "flag" } });
  const expected = [
    "TINTYPE_HOTS is not a setting; did you mean TINTYPE_HOST?",
    `hots in ${file} is not a setting; did you mean host?`,
    'port: --port is "flag"',
    'port: TINTYPE_PORT in the environment is "env"',
    `port: port in ${file} is "file"`,
    "database.url: TINTYPE_DATABASE_URL in the environment is [redacted]",
    's3.bucket: TINTYPE_S3_BUCKET in the environment is "x"',
    "http.header_timeout (20m) must not exceed http.request_timeout (10m)",
  ];
  t.equal(all.length, expected.length);
  for (const [index, start] of expected.entries()) t.ok(all[index]?.startsWith(start), start);
  t.throws(() => load({ cwd, env }), { message: /^The configuration is wrong in 7 places:\n/ });
  t.throws(() => load({ env: { TINTYPE_PORT: "x" } }), { message: /^The configuration is wrong:\n/ });
});

t.test("settings that contradict each other", async (t) => {
  t.equal(
    load({ env: { TINTYPE_HTTP_REQUEST_TIMEOUT: "10s" } }).config.http.request_timeout,
    10_000,
    "equal ones do not",
  );
  t.match(
    mistakes({ env: { TINTYPE_HTTP_REQUEST_TIMEOUT: "5s" } }),
    exactly(
      "http.header_timeout (10s) must not exceed http.request_timeout (5s): the headers are a part of the request",
    ),
  );
  t.match(
    mistakes({ env: { TINTYPE_MEDIA_STAGING_MAX_AGE: "1m" } }),
    exactly(
      "http.request_timeout (10m) must not exceed media.staging_max_age (1m): an upload that is still running must not be removed",
    ),
  );
});

t.test("what follows from other settings and the machine", async (t) => {
  const urls: Array<[host: string, port: number, url: string]> = [
    ["127.0.0.1", 3000, "http://127.0.0.1:3000"],
    ["0.0.0.0", 3000, "http://localhost:3000"],
    ["::", 3000, "http://localhost:3000"],
    ["::1", 3000, "http://[::1]:3000"],
    ["photos.internal", 80, "http://photos.internal"],
    ["127.0.0.1", 0, "http://127.0.0.1:0"],
  ];
  for (const [host, port, url] of urls) {
    t.equal(defaultPublicUrl(host, port), url);
    t.equal(load({ flags: { host, port: `${port}` } }).config.public_url, url);
  }
  t.equal(load({ uid: 0 }).config.data_dir, "/var/lib/tintype");
  t.equal(load({ uid: 0, flags: { "data-dir": "x" } }).config.data_dir, join(EMPTY, "x"));
  t.equal(load({ env: { TINTYPE_DATABASE_URL: POSTGRES } }).config.worker.embedded, false);
  t.equal(load({ terminal: true }).config.log.format, "pretty");

  const features: Array<[listed: string, on: string[]]> = [
    ["likes", [...FEATURES.core, "likes"]],
    ["likes, feed,accounts", [...FEATURES.core, "feed", "likes"]],
    ["accounts", FEATURES.core],
  ];
  for (const [listed, on] of features) t.same(load({ env: { TINTYPE_FEATURES: listed } }).config.features, on);
  t.same(load(withFile(t, "features = []")).config.features, FEATURES.core);
  t.same(mistakes({ env: { TINTYPE_FEATURES: "likes,fed,telegraph" } }), [
    'features: TINTYPE_FEATURES in the environment is "likes,fed,telegraph"; there is no feature "fed" (did you mean feed?), "telegraph"; the features are accounts, graph, media, posts, feed, likes',
  ]);
});
