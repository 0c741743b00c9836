import sharp from "sharp";
import t from "tap";
import type { Json } from "../support/client.ts";
import { exactly } from "../support/exactly.ts";
import {
  CORNERS,
  colourAt,
  difference,
  GPS_PLACE,
  largePhoto,
  type PictureOptions,
  picture,
  SECRET,
} from "../support/pictures.ts";
import { waitFor } from "../support/server.ts";
import { publish, startService } from "../support/service.ts";

const RENDITIONS = ["thumbnail", "small", "medium", "large"] as const;
type Renditions = Record<(typeof RENDITIONS)[number], Buffer>;

const { client } = await startService(t);
const alice = await client.register("alice");
const bob = await client.register("bob");

t.test("a photo goes up, is processed, and is on top of a follower's feed", async (t) => {
  t.match(await bob.request("POST", "/users/alice/follow"), { status: 200, body: { status: "following" } });
  await publish(alice, [await picture({ width: 64, height: 64 })], { caption: "an older one" });
  const photo = await largePhoto();
  const form = new FormData();
  form.append("media", new Blob([Uint8Array.from(photo)]), "IMG_0001.JPG");
  form.append("caption", "Sunset 🌅 over the bay");
  form.append("alt_text", "The sun touches the sea");

  const { status, body } = await alice.request("POST", "/posts", { form });
  t.match({ status, body }, { status: 202, body: { post_id: /^[0-9a-f-]{36}$/, status: "processing" } });

  const post = await waitFor(async () => {
    const { items } = (await bob.request("GET", "/feed")).body;
    return items[0]?.id === body.post_id && items[0];
  }, "the post in bob's feed");
  const medium = post.media[0];
  t.match(post, {
    author: { id: alice.id, username: "alice", display_name: null, avatar_url: null },
    caption: "Sunset 🌅 over the bay",
    status: "published",
    failure: null,
    media: exactly({ type: "image", alt_text: "The sun touches the sea", width: 2725, height: 2225, duration: null }),
    ...{ like_count: 0, comment_count: 0, liked_by_me: false, saved_by_me: false },
  });
  t.ok(post.published_at >= post.created_at);
  t.equal(post.media.length, 1);
  t.ok(Buffer.from(medium.thumbhash, "base64").length >= 10, "a blurred placeholder");
  t.same(await sizesOf(medium), {
    ...{ thumbnail: [150, 150], small: [320, 320], medium: [640, 523], large: [1080, 882] },
  });
  t.same((await alice.request("GET", "/feed")).body.items[0], post, "and on top of its author's own");
});

t.test("every format and kind of picture, ten in one post, in the order in which they were sent", async (t) => {
  const kinds: PictureOptions[] = [
    { format: "jpeg" },
    { format: "png" },
    { format: "webp" },
    { format: "gif" },
    { format: "avif" },
    { format: "jpeg", progressive: true, grey: true },
    { format: "png", depth: 16, alpha: true },
    { format: "jpeg", profile: "cmyk" },
    { format: "jpeg", profile: "p3" },
    { format: "gif", frames: 3 },
  ];
  const width = (index: number) => 300 + 20 * index;
  const pictures = await Promise.all(kinds.map((kind, i) => picture({ ...kind, width: width(i), height: 300 })));
  const altTexts = kinds.map((kind, index) => (index === 3 ? "" : `${index}: ${JSON.stringify(kind)}`));
  const post = await publish(alice, pictures, { altTexts });

  t.equal(post.caption, null);
  t.equal(new Set(post.media.map((medium: Json) => medium.id)).size, kinds.length);
  for (const [index, kind] of kinds.entries()) {
    const medium = post.media[index];
    t.match(medium, { alt_text: altTexts[index] || null, width: width(index), height: 300 }, `medium ${index}`);
    if (kind.grey) continue;
    for (const [name, file] of Object.entries(await renditionsOf(medium))) {
      // Inks give no blue and green as bright as the scene's.
      t.ok(
        (await cornersApart(file)) < (kind.profile === "cmyk" ? 96 : 24),
        `${JSON.stringify(kind)}: the colours of ${name}`,
      );
    }
  }
  t.equal((await colourAt((await renditionsOf(post.media[6])).medium, 0.5, 0.5))[3], 0, "what is transparent stays so");
});

t.test("all eight EXIF orientations show the same picture", async (t) => {
  const orientations = [1, 2, 3, 4, 5, 6, 7, 8];
  const options = { width: 700, height: 500, grain: 0, quality: 95 };
  const pictures = await Promise.all(orientations.map((orientation) => picture({ ...options, orientation })));
  const post = await publish(alice, pictures);
  const upright = await renditionsOf(post.media[0]);
  for (const [index, medium] of post.media.entries()) {
    t.match(medium, { width: 700, height: 500 });
    const turned = await renditionsOf(medium);
    for (const name of RENDITIONS) {
      const apart = await difference(upright[name], turned[name]);
      t.ok(apart < 1.5, `orientation ${orientations[index]}: ${name} is ${apart.toFixed(2)} apart`);
    }
  }
});

t.test("no rendition says where and with what a photo was taken", async (t) => {
  const formats = ["jpeg", "png", "webp", "avif"] as const;
  const pictures = await Promise.all(
    formats.map((format) => picture({ format, gps: true, profile: "p3", width: 400, height: 400 })),
  );
  for (const [index, file] of pictures.entries()) {
    const { exif } = await sharp(file).metadata();
    t.ok(exif?.includes(SECRET) && file.includes(SECRET), `the ${formats[index]} has it`);
  }
  const post = await publish(alice, pictures);
  for (const [index, medium] of post.media.entries()) {
    for (const [name, file] of Object.entries(await renditionsOf(medium))) {
      const { exif, xmp, icc, iptc, comments, orientation } = await sharp(file).metadata();
      t.same([exif, xmp, icc, iptc, comments, orientation].filter(Boolean), [], `${formats[index]}, ${name}`);
      t.same(
        ["EXIF", "XMP ", "ICCP", SECRET, GPS_PLACE.GPSLatitude].filter((mark) => file.includes(mark)),
        [],
      );
    }
  }
});

t.test("pictures of any shape: never enlarged, and cut only beyond 4:5 and 1.91:1", async (t) => {
  const shapes: [width: number, height: number, medium: [number, number], large: [number, number]][] = [
    [1, 1, [1, 1], [1, 1]],
    [200, 150, [200, 150], [200, 150]],
    [1000, 1000, [640, 640], [1000, 1000]],
    [800, 1000, [512, 640], [800, 1000]],
    [600, 1500, [512, 640], [600, 750]],
    [2000, 500, [640, 336], [955, 500]],
    [1500, 1, [1, 1], [1, 1]],
  ];
  const pictures = await Promise.all(
    shapes.map(([width, height]) => picture({ format: "png", width, height, grain: 0 })),
  );
  const post = await publish(alice, pictures);
  for (const [index, [width, height, medium, large]] of shapes.entries()) {
    t.match(post.media[index], { width, height });
    t.same(await sizesOf(post.media[index]), { thumbnail: [150, 150], small: [320, 320], medium, large });
  }
});

/** Downloads the four renditions as anybody would, and without signing in. */
async function renditionsOf(medium: Json): Promise<Renditions> {
  const entries = RENDITIONS.map(async (name) => {
    const { status, headers, bytes } = await client.request("GET", medium[`${name}_url`]);
    if (status !== 200 || headers.get("content-type") !== "image/webp") throw new Error(`${name}: ${status}`);
    return [name, bytes] as const;
  });
  return Object.fromEntries(await Promise.all(entries)) as Renditions;
}

/** Width and height of each rendition, which must be WebP in sRGB with 8 bits. */
async function sizesOf(medium: Json): Promise<Record<string, [number, number]>> {
  const entries = Object.entries(await renditionsOf(medium)).map(async ([name, file]) => {
    const { format, space, depth, width, height } = await sharp(file).metadata();
    if (format !== "webp" || space !== "srgb" || depth !== "uchar")
      throw new Error(`${name}: ${format} ${space} ${depth}`);
    return [name, [width, height]] as const;
  });
  return Object.fromEntries(await Promise.all(entries)) as Record<string, [number, number]>;
}

/** How far the colour that is farthest off is from the corner's that it should have. */
async function cornersApart(file: Buffer): Promise<number> {
  const places = [
    [CORNERS.topLeft, 0.25, 0.25],
    [CORNERS.topRight, 0.75, 0.25],
    [CORNERS.bottomLeft, 0.25, 0.75],
    [CORNERS.bottomRight, 0.75, 0.75],
  ] as const;
  const apart = places.map(async ([colour, x, y]) => {
    const seen = await colourAt(file, x, y);
    return Math.max(...colour.map((value, channel) => Math.abs(value - (seen[channel] ?? 0))));
  });
  return Math.max(...(await Promise.all(apart)));
}
