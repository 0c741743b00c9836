/** Who asks. All but the owner are signed in as somebody else, `anonymous` as nobody. */
export const ROLES = [
  "owner",
  "follower",
  "requested",
  "stranger",
  /** The owner blocks them. */
  "blocked",
  /** They block the owner. */
  "blocking",
  /** They follow the owner, and were suspended since. */
  "suspended",
  "anonymous",
] as const;
export type Role = (typeof ROLES)[number];

/** Whether the owner's account is private. */
export type Privacy = "private" | "public";

/**
 * What each route of /openapi.json that takes an id answers when the id is the owner's, or names what is the owner's: a
 * row a privacy, a column a role. A route without its rows fails the test.
 *
 * A cell is a status. 404 is the answer of what is not there, to the byte; another 404 has its code (`NOT_ASKED`, who is
 * known but does not ask). A dash: nobody can be that to this account. Comments are on the owner's own post, or elsewhere: on
 * that of a public account which has nothing to do with anybody. A medium is a post's, or a story's: that is for those whom
 * the story is for, whatever the account. A hashtag is nobody's, and never missing.
 */
export const TABLE = `
                                               owner follower requested stranger blocked blocking suspended anonymous
GET    /users/{username}              private  200   200      200       200      404     200      401       401
                                      public   200   200      -         200      404     200      401       401
GET    /users/{username}/followers    private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
GET    /users/{username}/following    private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
GET    /users/{username}/posts        private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
POST   /users/{username}/follow       private  422   200      200       200      404     403      401       401
                                      public   422   200      -         200      404     403      401       401
DELETE /users/{username}/follow       private  422   200      200       200      404     200      401       401
                                      public   422   200      -         200      404     200      401       401
POST   /users/{username}/block        private  422   200      200       200      404     200      401       401
                                      public   422   200      -         200      404     200      401       401
DELETE /users/{username}/block        private  422   200      200       200      404     200      401       401
                                      public   422   200      -         200      404     200      401       401
POST   /users/{username}/mute         private  422   200      200       200      404     200      401       401
                                      public   422   200      -         200      404     200      401       401
DELETE /users/{username}/mute         private  422   200      200       200      404     200      401       401
                                      public   422   200      -         200      404     200      401       401
DELETE /me/followers/{username}       private  422   200      200       200      404     200      401       401
                                      public   422   200      -         200      404     200      401       401
POST   /follow-requests/{username}/approve
                                      private  422   NOT_ASKED NOT_ASKED NOT_ASKED 404   NOT_ASKED 401      401
                                      public   422   NOT_ASKED -        NOT_ASKED 404    NOT_ASKED 401      401
POST   /follow-requests/{username}/deny
                                      private  422   200      200       200      404     200      401       401
                                      public   422   200      -         200      404     200      401       401
GET    /posts/{id}                    private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
PATCH  /posts/{id}                    private  200   403      404       404      404     404      401       401
                                      public   200   403      -         403      404     404      401       401
DELETE /posts/{id}                    private  204   403      404       404      404     404      401       401
                                      public   204   403      -         403      404     404      401       401
POST   /posts/{id}/like               private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
DELETE /posts/{id}/like               private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
GET    /posts/{id}/likes              private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
POST   /posts/{id}/save               private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
DELETE /posts/{id}/save               private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
PATCH  /me/collections/{name}         private  200   404      404       404      404     404      401       401
                                      public   200   404      -         404      404     404      401       401
DELETE /me/collections/{name}         private  204   404      404       404      404     404      401       401
                                      public   204   404      -         404      404     404      401       401
GET    /posts/{id}/comments           private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
POST   /posts/{id}/comments           private  201   201      404       404      404     404      401       401
                                      public   201   201      -         201      404     404      401       401
DELETE /comments/{id}                 private  204   403      404       404      404     404      401       401
                                      public   204   403      -         403      404     404      401       401
GET    /comments/{id}/replies         private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
POST   /comments/{id}/like            private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
DELETE /comments/{id}/like            private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
DELETE /comments/{id}#elsewhere       private  204   403      403       403      404     404      401       401
                                      public   204   403      -         403      404     404      401       401
GET    /comments/{id}/replies#elsewhere
                                      private  200   200      200       200      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
POST   /comments/{id}/like#elsewhere  private  200   200      200       200      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
DELETE /comments/{id}/like#elsewhere  private  200   200      200       200      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
GET    /users/{username}/stories      private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
POST   /me/close-friends/{username}   private  422   200      200       200      404     403      401       401
                                      public   422   200      -         200      404     403      401       401
DELETE /me/close-friends/{username}   private  422   200      200       200      404     200      401       401
                                      public   422   200      -         200      404     200      401       401
POST   /me/story-hides/{username}     private  422   200      200       200      404     200      401       401
                                      public   422   200      -         200      404     200      401       401
DELETE /me/story-hides/{username}     private  422   200      200       200      404     200      401       401
                                      public   422   200      -         200      404     200      401       401
GET    /stories/{id}                  private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
DELETE /stories/{id}                  private  204   403      404       404      404     404      401       401
                                      public   204   403      -         403      404     404      401       401
POST   /stories/{id}/view             private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
GET    /stories/{id}/viewers          private  200   403      404       404      404     404      401       401
                                      public   200   403      -         403      404     404      401       401
POST   /stories/{id}/reaction         private  422   200      404       404      404     404      401       401
                                      public   422   200      -         200      404     404      401       401
DELETE /stories/{id}/reaction         private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
GET    /users/{username}/highlights   private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
GET    /highlights/{id}               private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
GET    /highlights/{id}/stories       private  200   200      404       404      404     404      401       401
                                      public   200   200      -         200      404     404      401       401
PATCH  /me/highlights/{id}            private  200   404      404       404      404     404      401       401
                                      public   200   404      -         404      404     404      401       401
DELETE /me/highlights/{id}            private  204   404      404       404      404     404      401       401
                                      public   204   404      -         404      404     404      401       401
POST   /me/highlights/{id}/stories/{story_id}
                                      private  200   404      404       404      404     404      401       401
                                      public   200   404      -         404      404     404      401       401
DELETE /me/highlights/{id}/stories/{story_id}
                                      private  200   404      404       404      404     404      401       401
                                      public   200   404      -         404      404     404      401       401
GET    /tags/{tag}/posts              private  200   200      200       200      200     200      401       401
                                      public   200   200      -         200      200     200      401       401
DELETE /auth/sessions/{id}            private  204   404      404       404      404     404      401       401
                                      public   204   404      -         404      404     404      401       401
GET    /media/{medium}/{file}         private  200   200      404       404      404     404      404       404
                                      public   200   200      -         200      200     200      200       200
GET    /media/{medium}/{file}#story   private  200   200      404       404      404     404      404       404
                                      public   200   200      -         200      404     404      404       404
GET    /exports/{id}/{file}           private  200   404      404       404      404     404      404       404
                                      public   200   404      -         404      404     404      404       404
`;

/** The table's cells, by `METHOD /path` and privacy. */
export function readTable(): Map<string, Record<Privacy, Record<Role, string>>> {
  const rows = new Map<string, Record<Privacy, Record<Role, string>>>();
  let route = "";
  for (const line of TABLE.split("\n").slice(2)) {
    const words = line.trim().split(/\s+/);
    if (words[0]?.match(/^[A-Z]+$/) && words[1]?.startsWith("/")) route = words.splice(0, 2).join(" ");
    const privacy = words.shift();
    if (privacy !== "private" && privacy !== "public") continue;
    if (words.length !== ROLES.length) throw new Error(`${route}, ${privacy}: ${words.length} cells`);
    const cells = Object.fromEntries(ROLES.map((role, index) => [role, words[index]])) as Record<Role, string>;
    const known = rows.get(route) ?? ({} as Record<Privacy, Record<Role, string>>);
    rows.set(route, { ...known, [privacy]: cells });
  }
  return rows;
}
