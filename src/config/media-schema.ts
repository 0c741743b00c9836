import { choice, duration, integer, isBaseUrl, isBucket, isOriginUrl, nullable, section, size, text } from "./units.ts";

/** The settings of pictures: how they come in, how they get out, and where they lie. A part of schema.ts. */

export const media = section("Uploads and pictures.", {
  max_photo: size({
    description: "A larger picture is refused while it is uploaded.",
    default: "20mb",
    minimum: "1kb",
    maximum: "1gb",
  }),
  max_pixels: integer({
    description:
      "A picture of more pixels (width × height) is refused: each takes 4 bytes of memory while it is decoded, and 12 where the file is HEIC.",
    default: "50000000",
    minimum: 1,
    maximum: 1_000_000_000,
  }),
  decode_timeout: duration({
    description: "A picture whose decoding takes longer has failed.",
    default: "20s",
    minimum: "100ms",
    // The queue of these jobs counts on it: see its `expireSeconds`.
    maximum: "2m",
  }),
  decoder_memory: size({
    description: "The memory that one decoding process may take.",
    default: "1gb",
    minimum: "128mb",
    maximum: "64gb",
  }),
  uploads: integer({
    description: "Uploads that one process receives at a time; more are told to come again. Each is staged on disk.",
    default: "256",
    minimum: 1,
    maximum: 10_000,
  }),
  uploads_per_account: integer({
    description: "How many of them may be one account's, so that nobody takes all places alone.",
    default: "128",
    minimum: 1,
    maximum: 10_000,
  }),
  public_base_url: nullable(
    text({
      description:
        "What the URLs of public accounts' pictures begin with: a CDN in front of `public_url`. All others stay with `public_url`, because who looks is asked there.",
      default: null,
      otherwise: "`public_url`",
      check: isBaseUrl,
      wants: "an absolute http:// or https:// URL, such as https://cdn.example.com",
    }),
  ),
  store: choice({
    description: "Where the media lie: `filesystem` is the data directory, `s3` the store of `s3.endpoint`.",
    default: null,
    otherwise: "`s3` where `s3.endpoint` is set, else `filesystem`",
    values: ["filesystem", "s3"],
  }),
  migrate_from: nullable(
    choice({
      description:
        "The store that media are being moved from: what is not in `media.store` yet is read there. `tintype media migrate` moves them.",
      default: null,
      otherwise: "none",
      values: ["filesystem", "s3"],
    }),
  ),
  originals: choice({
    description:
      "Whether the uploaded files are kept once a picture is processed. `drop` saves their space; such pictures cannot be processed again, and a takeout has the largest rendition instead.",
    default: "keep",
    values: ["keep", "drop"],
  }),
  quota: nullable(
    size({
      description:
        "What one account may upload, in bytes of the files that it has not deleted. `tintype media quota` sets another for an account.",
      default: null,
      otherwise: "none",
      minimum: "1kb",
      maximum: "1048576gb",
    }),
  ),
  staging_max_age: duration({
    description:
      "What broken uploads left behind is removed after this time, which must not be shorter than `http.request_timeout`.",
    default: "24h",
    minimum: "100ms",
    maximum: "20d",
  }),
});

export const delivery = section("How pictures get to whoever may see them.", {
  by: choice({
    description:
      "Who sends a picture's bytes once its viewer was checked: `serve` itself; `redirect` sends clients to the S3 store, by an address that is good for a minute; `accel` leaves it to the nginx in front, by X-Accel-Redirect.",
    default: "serve",
    values: ["serve", "redirect", "accel"],
  }),
  accel_location: text({
    description: "The internal location of that nginx which has the media, with `delivery.by = accel`.",
    default: "/tintype-media/",
    check: (path) => /^\/([\w.-]+\/)*$/.test(path),
    wants: "a path that begins and ends with a slash",
  }),
});

export const s3 = section(
  "An S3 store for the media, such as MinIO's. Without it they are files under the data directory.",
  {
    endpoint: nullable(
      text({
        description:
          "The store's address. With it all media are kept there, and servers and workers need no file system in common.",
        default: null,
        otherwise: "none: media are files",
        check: isOriginUrl,
        wants: "an http:// or https:// URL without a path, such as http://127.0.0.1:9000",
      }),
    ),
    region: text({
      description: "The region that requests are signed for.",
      default: "us-east-1",
      check: (name) => /^[a-z0-9-]{1,64}$/.test(name),
      wants: "the name of a region",
    }),
    bucket: text({
      description: "The bucket, which `tintype migrate` makes. It is tintype's alone.",
      default: "tintype-media",
      check: isBucket,
      wants: "3 to 63 of a-z, 0-9, dot and hyphen, the first and the last a letter or digit",
    }),
    access_key: nullable(
      text({
        description: "Who we are to the store. Set it together with `s3.endpoint`.",
        default: null,
        otherwise: "none",
        check: (key) => key !== "",
        wants: "an access key",
      }),
    ),
    secret_key: nullable(
      text({
        description: "The secret of that access key.",
        default: null,
        otherwise: "none",
        secret: true,
        check: (key) => key !== "",
        wants: "a secret key",
      }),
    ),
    public_endpoint: nullable(
      text({
        description: "Where clients reach the store, for `delivery.by = redirect`.",
        default: null,
        otherwise: "`s3.endpoint`",
        check: isOriginUrl,
        wants: "an http:// or https:// URL without a path, such as https://s3.example.com",
      }),
    ),
    timeout: duration({
      description:
        "How long the store may be silent before a call is given up. While it is out of reach an upload is refused after at most four times this.",
      default: "2500ms",
      minimum: "100ms",
      maximum: "1m",
    }),
  },
);
