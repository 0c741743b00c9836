/** The authorization matrix: every route that takes an id, asked by everybody that one can be to an account. */
import { randomBytes, randomUUID } from "node:crypto";
import pg from "pg";
import t from "tap";
import { type Answer, createClient, type SignedIn } from "../support/client.ts";
import { ask as beginExport, settled } from "../support/exports.ts";
import { picture } from "../support/pictures.ts";
import { waitFor } from "../support/server.ts";
import { publish, startService } from "../support/service.ts";
import { publishStory } from "../support/stories.ts";
import { type Privacy, ROLES, type Role, readTable } from "./authorization.table.ts";

const service = await startService(t);
const { client } = service;
// What is refused is checked here by the byte; the client that checks 2xx answers is `client`.
const anonymous = createClient(service.server.url);
const sql = new pg.Pool({ connectionString: service.databaseUrl, max: 1 });
t.teardown(() => sql.end());
const photo = await picture({ width: 40, height: 30 });
const table = readTable();

type Guest = Exclude<Role, "owner" | "anonymous">;
const GUESTS = ROLES.filter((role): role is Guest => role !== "owner" && role !== "anonymous");

/** Everybody but the owners. They are private and have a picture, so each holds a ticket of their own. */
const guests = new Map<Guest, { client: SignedIn; ticket: string }>();
for (const role of GUESTS) {
  const guest = await client.register(`guest.${role}`);
  await guest.request("PATCH", "/me", { json: { is_private: true } });
  const post = await publish(guest, [photo]);
  const ticket = new URL(post.media[0].large_url).searchParams.get("t");
  if (!ticket) throw new Error("a private account's picture has no ticket in its URL");
  guests.set(role, { client: guest, ticket });
}
/** Whose post the owners comment on too. */
const host = await client.register("host");
const hostPost = await publish(host, [photo]);
const guestOf = (role: Guest) => guests.get(role) as { client: SignedIn; ticket: string };

interface Owner {
  client: SignedIn;
  postId: string;
  mediumId: string;
  sessionId: string;
  /** Of its comments on its own post, and on the host's. */
  commentId: string;
  elsewhereId: string;
  /** The path of its export, whose last part nobody else knows. */
  exportPath: string;
  ticket: string;
  /** Null where no story was asked for. It is in the highlight. */
  story: { id: string; mediumId: string; highlightId: string } | null;
}

/** What owners have, and nobody else. */
const COLLECTION = "collection";

let owners = 0;

const isOfStories = (route: string) => /\/stories\/|\/highlights|#story/.test(route);

/** A new account to which each guest is what their role says, with what these routes are about. */
async function makeOwner(privacy: Privacy, routes: readonly string[]): Promise<Owner> {
  const owner = await client.register(`owner${String(owners++).padStart(3, "0")}`);
  const post = await publish(owner, [photo]);
  await owner.request("POST", `/posts/${post.id}/save`, { json: { collection: COLLECTION } });
  await beginExport(owner);
  const act = async (who: SignedIn, method: string, path: string, options = {}) => {
    const { status, bytes } = await who.request(method, path, options);
    if (status !== 200) throw new Error(`${method} ${path}: ${status} ${bytes}`);
  };
  await sql.query("UPDATE users SET state = 'active' WHERE username = 'guest.suspended'");
  for (const role of ["follower", "suspended"] as const) {
    await act(guestOf(role).client, "POST", `/users/${owner.username}/follow`);
  }
  await act(owner, "PATCH", "/me", { json: { is_private: privacy === "private" } });
  if (privacy === "private") await act(guestOf("requested").client, "POST", `/users/${owner.username}/follow`);
  await act(owner, "POST", "/users/guest.blocked/block");
  await act(guestOf("blocking").client, "POST", `/users/${owner.username}/block`);
  // With what `users suspend` tells the servers: this one has just let the guest in.
  await sql.query(
    `WITH suspended AS (UPDATE users SET state = 'suspended' WHERE username = 'guest.suspended' RETURNING id)
     SELECT pg_notify('tintype', 'account.changed ' || id) FROM suspended`,
  );
  const refused = async () => (await guestOf("suspended").client.request("GET", "/me")).status === 401;
  await waitFor(refused, "the suspended to be refused");
  const comment = async (postId: string) => {
    const { status, body } = await owner.request("POST", `/posts/${postId}/comments`, { json: { text: "mine" } });
    if (status !== 201) throw new Error(`comment: ${status}`);
    return String(body.id);
  };
  const story = routes.some(isOfStories) ? await publishStory(owner, photo) : null;
  const highlights = story && { title: "best", story_ids: [story.id] };
  const highlight = highlights && (await owner.request("POST", "/me/highlights", { json: highlights })).body;
  const { body: sessions } = await owner.request("GET", "/auth/sessions");
  const { url: exportUrl } = await settled(owner);
  const { body: read } = await owner.request("GET", `/posts/${post.id}`);
  return {
    client: owner,
    postId: post.id,
    mediumId: post.media[0].id,
    sessionId: sessions.items[0].id,
    commentId: await comment(post.id),
    elsewhereId: await comment(hostPost.id),
    exportPath: new URL(exportUrl).pathname,
    // Of a public account's pictures those of stories have one.
    ticket: new URL((story ?? read).media[0].large_url).searchParams.get("t") ?? "",
    story: story && { id: story.id, mediumId: story.media[0].id, highlightId: highlight.id },
  };
}

/** Things that are not there. The name is as long as the owners' are. */
const NOBODY = "nobody00";
const NOTHING = randomUUID();
const ID = /[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/;
/** What an export's last part looks like. */
const GUESS = `${randomBytes(32).toString("base64url")}.zip`;

/** The path of a route, with what is the owner's in it or, for null, what is not there. */
function pathOf(route: string, owner: Owner | null): string {
  if (route.includes("/exports/")) return owner?.exportPath ?? `/exports/${NOTHING}/${GUESS}`;
  const username = owner?.client.username ?? NOBODY;
  const [path = "", which] = (route.split(" ")[1] ?? "").split("#");
  const ids: [part: string, id: string | undefined][] = [
    ["/comments/", which === "elsewhere" ? owner?.elsewhereId : owner?.commentId],
    ["/sessions/", owner?.sessionId],
    ["/highlights/", owner?.story?.highlightId],
    ["/stories/", owner?.story?.id],
    ["/", owner?.postId],
  ];
  const id = ids.find(([part]) => path.includes(part))?.[1];
  const mediumId = which === "story" ? owner?.story?.mediumId : owner?.mediumId;
  return path
    .replace("{tag}", "sunset")
    .replace("{username}", username)
    .replace("{id}", id ?? NOTHING)
    .replace("{story_id}", owner?.story?.id ?? NOTHING)
    .replace("{name}", owner === null ? "no-such-collection" : COLLECTION)
    .replace("{medium}", mediumId ?? NOTHING)
    .replace("{file}", "large.webp");
}

/** What a route is sent. */
function bodyOf(route: string): object | null {
  if (route === "PATCH /me/collections/{name}") return { name: "changed" };
  if (route === "PATCH /me/highlights/{id}") return { title: "changed" };
  if (route === "POST /stories/{id}/reaction") return { emoji: "👏" };
  if (route.startsWith("PATCH ")) return { caption: "changed" };
  return route === "POST /posts/{id}/comments" ? { text: "a comment" } : null;
}

async function ask(route: string, role: Role, owner: Owner, asked: string): Promise<Answer> {
  // Whoever is not the owner can only guess.
  const path = role === "owner" ? asked : asked.replace(/^(\/exports\/.*\/).*/, `$1${GUESS}`);
  const [method = ""] = route.split(" ");
  const sent = bodyOf(route);
  const options = sent === null ? {} : { json: sent };
  if (path.startsWith("/media/")) {
    // As an <img> does it: without a token, but everybody with their own ticket.
    const ticket = role === "owner" ? owner.ticket : role === "anonymous" ? "" : guestOf(role).ticket;
    return anonymous.request(method, ticket ? `${path}?t=${ticket}` : path);
  }
  if (role === "anonymous") return anonymous.request(method, path, options);
  return (role === "owner" ? owner.client : guestOf(role).client).request(method, path, options);
}

/** An answer without what differs from request to request, and without the ids of what was asked for. */
function comparable(answer: Answer, owner: Owner | null): string {
  const { date, "x-request-id": requestId = "", ...headers } = Object.fromEntries(answer.headers);
  const ids = [
    owner?.client.username ?? NOBODY,
    owner?.sessionId,
    owner?.postId,
    owner?.commentId,
    owner?.elsewhereId,
    owner?.mediumId,
    owner?.story?.id,
    owner?.story?.mediumId,
    owner?.story?.highlightId,
    NOTHING,
    requestId,
  ];
  const text = JSON.stringify({ status: answer.status, headers, body: answer.bytes.toString() });
  return ids
    .filter((id) => id !== undefined && id !== "")
    .reduce<string>((kept, id) => kept.replaceAll(String(id), "ID"), text);
}

t.test("the table holds every route that takes an id", async (t) => {
  const { body } = await anonymous.request("GET", "/openapi.json");
  const routes = Object.entries(body.paths as Record<string, object>)
    .filter(([path]) => path.includes("{"))
    .flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace(/^\/api\/v1/, "")}`),
    );
  const kept = [...table.keys()].map((route) => route.replace(/#.*/, ""));
  t.strictSame([...new Set(kept)].sort(), routes.sort());
});

for (const privacy of ["private", "public"] as const) {
  t.test(`what is a ${privacy} account's`, async (t) => {
    const shared = await makeOwner(privacy, [...table.keys()]);
    for (const [route, rows] of table) {
      // What a route changes must not be seen by the next.
      const owner = route.startsWith("GET ") ? shared : await makeOwner(privacy, [route]);
      // The owner comes last: it alone can take away what the others ask for.
      for (const role of [...ROLES].reverse()) {
        const cell = rows[privacy][role];
        if (cell === "-") continue;
        const path = pathOf(route, owner);
        // An id is the same in capitals.
        const asked = privacy === "public" && role === "owner" ? path.replace(ID, (id) => id.toUpperCase()) : path;
        const answer = await ask(route, role, owner, asked);
        const name = `${route}, ${role}`;
        if (cell === "NOT_ASKED") {
          t.equal(answer.body.error.code, "FOLLOW_REQUEST_NOT_FOUND", name);
          continue;
        }
        t.equal(answer.status, Number(cell), name);
        if (cell !== "404") continue;
        const missing = await ask(route, role, owner, pathOf(route, null));
        t.equal(comparable(answer, owner), comparable(missing, null), `${name}: as if it were not there`);
      }
    }
  });
}

t.test("who is suspended or being deleted is there for nobody", async (t) => {
  for (const state of ["suspended", "deleting"]) {
    for (const privacy of ["private", "public"] as const) {
      const owner = await makeOwner(privacy, [...table.keys()]);
      await sql.query("UPDATE users SET state = $1 WHERE username = $2", [state, owner.client.username]);
      for (const route of [...table.keys()].filter((route) => !route.includes("{tag}"))) {
        for (const role of ["follower", "requested", "stranger", "blocked", "blocking"] as const) {
          const answer = await ask(route, role, owner, pathOf(route, owner));
          t.equal(answer.status, 404, `${route}, ${role}, ${state}`);
          const missing = await ask(route, role, owner, pathOf(route, null));
          t.equal(comparable(answer, owner), comparable(missing, null), `${route}, ${role}, ${state}: as if not there`);
        }
      }
    }
  }
});
