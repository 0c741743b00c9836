import { type Static, Type } from "typebox";
import { limits } from "./limits-schema.ts";
import { delivery, media, s3 } from "./media-schema.ts";
import {
  boolean,
  choice,
  duration,
  integer,
  isAddressRange,
  isBaseUrl,
  isHost,
  isOrigin,
  isSender,
  list,
  nullable,
  postgresUrl,
  type Rules,
  redisUrl,
  section,
  size,
  smtpUrl,
  type TSetting,
  text,
} from "./units.ts";

/**
 * Every setting there is. It describes the configuration that the program works with: durations are milliseconds, sizes
 * bytes, and null means "none". The key is the setting's name in the file; in the environment it is upper-cased, with
 * `TINTYPE_` before it and `_` between section and key.
 */
export const ConfigSchema = Type.Object({
  host: text({
    description: "The address to listen on. `0.0.0.0` or `::` listens on every one.",
    default: "127.0.0.1",
    check: isHost,
    wants: "an IP address or a host name, without scheme, port or brackets",
  }),
  port: integer({
    description: "The port to listen on. `0` picks a free one.",
    default: "3000",
    minimum: 0,
    maximum: 65_535,
  }),
  public_url: text({
    description: "What the URLs in answers begin with: the address at which clients reach this service.",
    default: null,
    otherwise: "`http://host:port`, with `localhost` for an address that stands for all",
    check: isBaseUrl,
    wants: "an absolute http:// or https:// URL, such as https://photos.example.com",
  }),
  data_dir: text({
    description:
      "Where the embedded Postgres, the media and unfinished uploads lie. A relative path in the file starts from the file's directory.",
    default: null,
    otherwise: "`./tintype-data`; as root `/var/lib/tintype`",
    check: (path) => path !== "" && !path.includes("\0"),
    wants: "a path",
  }),
  features: list({
    description:
      "The features that are on; one that is left out has no route, job or command. The core features are on whatever is listed.",
    default: null,
    otherwise: "all",
    check: (name) => name !== "",
    wants: "names of features",
  }),
  registration: choice({
    description:
      "Who may open an account: `open` is everybody, `invite` whoever has a code of `tintype users invite`, `closed` leaves it to `tintype users create`.",
    default: "open",
    values: ["open", "invite", "closed"],
  }),

  database: section("Postgres, which keeps everything but the media.", {
    url: nullable(
      postgresUrl({
        description: "A Postgres of your own, version 15 or newer.",
        default: null,
        otherwise: "none: an embedded Postgres under the data directory",
      }),
    ),
    pool_max: integer({
      description:
        "The most connections that one process opens for its queries. The job queue takes up to 7 more where jobs are taken, else 2, and `serve` and `worker` one that hears what other servers tell.",
      default: "10",
      minimum: 2,
      maximum: 1000,
    }),
    statement_timeout: duration({
      description: "A statement that runs longer is cancelled by Postgres.",
      default: "30s",
      minimum: "100ms",
      maximum: "1h",
    }),
    migrate: choice({
      description:
        "What `serve` does about the schema in a Postgres of your own: `auto` installs it into an empty database, `never` not even that. Every other change of the schema is made by `tintype migrate` only. The embedded Postgres is always kept current.",
      default: "auto",
      values: ["auto", "never"],
    }),
  }),

  redis: section("Redis or Valkey 7 or newer, which holds the timelines of feeds. Nothing in it is lost with it.", {
    url: nullable(
      redisUrl({
        description: "A Redis of your own, or any node of a Redis Cluster.",
        default: null,
        otherwise: "none: feeds are read from Postgres",
      }),
    ),
    key_prefix: text({
      description: "What the names of all keys begin with, where several services share one Redis.",
      default: "",
      check: (prefix) => /^[\w.:-]{0,64}$/.test(prefix),
      wants: "at most 64 letters, digits and . _ : -",
    }),
  }),

  feed: section("The home feed.", {
    fanout_threshold: integer({
      description:
        "From this many followers on an account's posts are no longer pushed to each follower's timeline, but pulled when somebody reads. It is pushed again below nine tenths of it.",
      default: "10000",
      minimum: 1,
      maximum: 1_000_000_000,
    }),
    pool_max: integer({
      description:
        "The most connections to Postgres that one process opens for feeds: where there is no Redis, it is down, or a timeline has to be rebuilt. What waits too long for one is answered 503.",
      default: "4",
      minimum: 1,
      maximum: 1000,
    }),
  }),

  worker: section("The processing of jobs, above all of pictures.", {
    embedded: boolean({
      description: "Whether `serve` takes jobs too. If not, at least one `tintype worker` has to run.",
      default: null,
      otherwise: "`true` with the embedded Postgres, else `false`",
    }),
    concurrency: integer({
      description:
        "How many jobs one process works on at a time; each picture being decoded keeps a core busy and may take `media.decoder_memory`.",
      default: null,
      otherwise:
        "the number of cores, but no more than `media.decoder_memory` goes into three quarters of the memory (the container's, where it is limited), and at least 1",
      minimum: 1,
      maximum: 1024,
    }),
    port: nullable(
      integer({
        description: "The port at which `tintype worker` answers `/healthz`, `/readyz` and `/metrics`.",
        default: null,
        otherwise: "none",
        minimum: 0,
        maximum: 65_535,
      }),
    ),
  }),

  media,
  delivery,
  s3,

  http: section("The HTTP server.", {
    body_limit: size({
      description: "The largest JSON body that is read. Uploads have limits of their own.",
      default: "64kb",
      minimum: "1kb",
      maximum: "100mb",
    }),
    header_timeout: duration({
      description: "How long a client may take to send a request's headers.",
      default: "10s",
      minimum: "100ms",
      maximum: "1h",
    }),
    idle_timeout: duration({
      description: "A connection without a request is closed after this time. A proxy in front should close earlier.",
      default: "60s",
      minimum: "100ms",
      maximum: "1d",
    }),
    request_timeout: duration({
      description: "How long a client may take to send a whole request, slow uploads included.",
      default: "10m",
      minimum: "100ms",
      maximum: "1d",
    }),
    trust_proxy: list({
      description:
        "The proxies in front whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed. Anybody else could claim any address.",
      default: "",
      check: isAddressRange,
      wants: "IP addresses or CIDR ranges such as 10.0.0.0/8",
    }),
    cors_origins: list({
      description: "The sites whose pages may call the API from a browser; `*` is every one.",
      default: "",
      check: isOrigin,
      wants: "origins such as https://app.example.com, without a path or a slash at the end, or `*`",
    }),
  }),

  accounts: section("Accounts and their sessions.", {
    session_lifetime: duration({
      description: "A session that is not used for this long has ended.",
      default: "90d",
      minimum: "100ms",
      maximum: "3650d",
    }),
    username_hold: duration({
      description: "How long nobody else can take a name that somebody gave up for another.",
      default: "14d",
      minimum: "100ms",
      maximum: "3650d",
    }),
    deleted_username_hold: duration({
      description: "How long nobody can take the name of a deleted account.",
      default: "30d",
      minimum: "100ms",
      maximum: "3650d",
    }),
  }),

  limits,

  stories: section("Stories, which are there for a time.", {
    lifetime: duration({
      description: "How long a story is shown after it was published.",
      default: "24h",
      minimum: "1s",
      maximum: "30d",
    }),
    cleanup_grace: duration({
      description:
        "How long a story that is over, and shown to nobody any more, stays before it is cleaned up. What is broken off, or fails, is cleaned up as long after it was uploaded as a story is shown, and this.",
      default: "1h",
      minimum: "0s",
      maximum: "30d",
    }),
  }),

  smtp: section("Mail: links that confirm an email or set a new password. Without it nothing is mailed.", {
    url: nullable(
      smtpUrl({
        description:
          "The mail server. TLS is used where the server offers it, with `smtps://` from the start; its certificate must be valid, but on this machine.",
        default: null,
        otherwise: "none",
      }),
    ),
    from: nullable(
      text({
        description: "Whom mails are from. Set it together with `smtp.url`.",
        default: null,
        otherwise: "none",
        check: isSender,
        wants: "an email address such as photos@example.com, or Photos <photos@example.com>",
      }),
    ),
  }),

  exports: section("The archives in which people take along what is kept of them.", {
    lifetime: duration({
      description: "How long an archive may be fetched after it was made.",
      default: "7d",
      minimum: "100ms",
      maximum: "90d",
    }),
  }),

  log: section("The log, on standard error.", {
    level: choice({
      description: "The least important messages that are logged.",
      default: "info",
      values: ["trace", "debug", "info", "warn", "error", "fatal", "silent"],
    }),
    format: choice({
      description: "`pretty` is for people, `json` is one document a line for machines.",
      default: null,
      otherwise: "`pretty` on a terminal, else `json`",
      values: ["pretty", "json"],
    }),
  }),

  shutdown: section("The orderly end of a process.", {
    timeout: duration({
      description:
        "How long a process that is told to stop may take for requests and jobs in flight; closing what it has open takes some seconds more. Whoever stops it (systemd, Kubernetes) should wait 10 s longer.",
      default: "20s",
      minimum: "100ms",
      maximum: "1h",
    }),
  }),
});

/** The whole configuration: durations in milliseconds, sizes in bytes, paths absolute, null for "none". */
export type Config = Static<typeof ConfigSchema>;

/** One setting, with its names and rules. */
export interface Setting extends Rules {
  /** `media.max_photo`, as in the file. */
  readonly name: string;
  /** `media`; null for what stands at the top. */
  readonly section: string | null;
  /** `max_photo`. */
  readonly key: string;
  /** `TINTYPE_MEDIA_MAX_PHOTO`. */
  readonly env: string;
  /** `media-max-photo`: what a flag for it is called, without the dashes. */
  readonly flag: string;
  readonly schema: TSetting;
}

/** The variable that sets `name`: `media.max_photo` → `TINTYPE_MEDIA_MAX_PHOTO`. */
export function envName(name: string): string {
  return `TINTYPE_${name.replaceAll(".", "_").toUpperCase()}`;
}

const SETTINGS: readonly Setting[] = Object.entries(ConfigSchema.properties).flatMap(([name, schema]) =>
  "setting" in schema
    ? [describe(null, name, schema)]
    : Object.entries(schema.properties).map(([key, inner]: [string, TSetting]) => describe(name, key, inner)),
);

function describe(section: string | null, key: string, schema: TSetting): Setting {
  const name = section === null ? key : `${section}.${key}`;
  return { ...schema.setting, name, section, key, env: envName(name), flag: name.replaceAll(/[._]/g, "-"), schema };
}

/** All settings, in the order of the schema. */
export function settings(): readonly Setting[] {
  return SETTINGS;
}

/** The sections of the file with what they are about, in the order of the schema. */
export function sections(): ReadonlyArray<{ name: string; description: string }> {
  return Object.entries(ConfigSchema.properties).flatMap(([name, schema]) =>
    "setting" in schema ? [] : [{ name, description: schema.description }],
  );
}
