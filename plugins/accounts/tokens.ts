import { createHash, randomBytes } from "node:crypto";

/** A secret of 256 random bits. @param prefix says what it is for, to whoever finds one lying about. */
export function newToken(prefix: "tt" | "link" | "invite"): string {
  return `${prefix}_${randomBytes(32).toString("base64url")}`;
}

/** What is kept of a token. It is 256 random bits, so one plain hash is as good as a slow one. */
export function hashToken(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
