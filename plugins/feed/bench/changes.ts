import type pg from "pg";
import { requestOf } from "../../../src/bench/request.ts";
import type { Dataset } from "./dataset.ts";

/** Requests that change feeds, in an order in which each of them does. */
export interface Changes {
  requests(host: string): Buffer[];
  /** Whom a viewer follows for a while; undefined for nobody. */
  passing(viewer: number): number | undefined;
}

/** Viewers who follow somebody, before they give it up again in the same order. */
const GROUP = 20;
/** Whom they follow for a while is none of the few whom nearly everybody follows. */
const FIRST_RANK = 20;

/** Half follows and unfollows, which change one viewer's feed, and half captions, which change the pages of many. */
export async function makeChanges(
  client: pg.ClientBase,
  dataset: Dataset,
  viewers: readonly number[],
): Promise<Changes> {
  const { rows: posts } = await client.query<{ id: string; username: string }>(
    "SELECT posts.id, username FROM posts JOIN users ON users.id = user_id ORDER BY published_at DESC LIMIT 500",
  );
  const passing = new Map(viewers.map((viewer) => [viewer, strangerTo(dataset, viewer)]));
  return {
    passing: (viewer) => passing.get(viewer),
    requests(host) {
      let edits = 0;
      const edit = () => {
        const { id = "", username = "" } = posts[edits % posts.length] ?? {};
        const token = dataset.tokenOf(Number(username.replace("bench", "")));
        const caption = `A caption that was changed ${++edits} times.`;
        return requestOf({ host, method: "PATCH", path: `/api/v1/posts/${id}`, token, body: { caption } });
      };
      const requests: Buffer[] = [];
      for (let begin = 0; begin < viewers.length; begin += GROUP) {
        for (const method of ["POST", "DELETE"]) {
          for (const viewer of viewers.slice(begin, begin + GROUP)) {
            const stranger = passing.get(viewer);
            if (stranger === undefined) continue;
            const path = `/api/v1/users/${dataset.usernameOf(stranger)}/follow`;
            requests.push(requestOf({ host, method, path, token: dataset.tokenOf(viewer) }), edit());
          }
        }
      }
      return requests;
    },
  };
}

/** A public account that the viewer does not follow, as near as possible to those whom many follow. */
function strangerTo(dataset: Dataset, viewer: number): number | undefined {
  const { users } = dataset.options;
  for (let distance = 0; distance < users; distance++) {
    const user = (FIRST_RANK + distance) % users;
    if (user !== viewer && !dataset.isPrivate(user) && !dataset.follows(viewer, user)) return user;
  }
  return undefined;
}
