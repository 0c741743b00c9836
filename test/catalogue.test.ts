import { glob } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { features } from "../plugins/index.ts";
import { defineError, errorCatalogue, HttpError } from "../src/http/errors.ts";

const ROOT = join(import.meta.dirname, "..");

// The list of features loads those errors that its code names; a file that nothing imports yet counts too.
for (const file of await Array.fromAsync(glob("plugins/*/errors.ts", { cwd: ROOT }))) await import(join(ROOT, file));

/** What clients may rely on: a code never changes its meaning or its status, and is never taken away. */
const PINNED = `
400 BODY_TOO_DEEP The body has arrays and objects in each other, more than {levels} levels of them.
400 INVALID_CURSOR The cursor is not one that this list gave. Start again without it.
400 INVALID_JSON The body is not JSON.
400 INVALID_REQUEST The request is malformed: {reason}.
400 UPLOAD_INCOMPLETE The upload ended before its end. Send it again.
401 UNAUTHENTICATED Sign in first: send the header Authorization: Bearer TOKEN with a token that is still valid.
401 WRONG_CREDENTIALS The name or the password is wrong.
403 ACCOUNT_SUSPENDED This account is suspended. Ask the operator of this server why.
403 COMMENTS_CLOSED The author of this post takes no more comments.
403 INVITE_INVALID This invite code is mistyped, used or too old. Ask its sender for another.
403 INVITE_REQUIRED This server takes registrations by invitation only. Ask its operator for a code and send it as invite_code.
403 NOT_YOUR_COMMENT Only its author and the author of the post can delete this comment.
403 NOT_YOUR_POST Only its author can change this post.
403 NOT_YOUR_STORY Only its author can do this with a story.
403 REGISTRATION_CLOSED This server takes no registrations. Ask its operator for an account.
403 WRONG_PASSWORD The current password is wrong.
403 YOU_BLOCK You block {username}. Unblock them first.
404 COLLECTION_NOT_FOUND You have no such collection.
404 COMMENT_NOT_FOUND There is no such comment.
404 EXPORT_NOT_FOUND There is no such file, or not any more. Ask for a new one.
404 FOLLOW_REQUEST_NOT_FOUND {username} does not ask to follow you, or has withdrawn the request.
404 HIGHLIGHT_NOT_FOUND There is no such highlight.
404 MEDIA_NOT_FOUND There is no such picture.
404 NOTIFICATION_NOT_FOUND You have no such notification.
404 POST_NOT_FOUND There is no such post.
404 ROUTE_NOT_FOUND There is no {method} {path}.
404 SESSION_NOT_FOUND You have no such session.
404 STORY_NOT_FOUND There is no such story, or it is over.
404 USER_NOT_FOUND There is no user named {username}.
408 REQUEST_TIMEOUT The request took too long to arrive.
409 COLLECTION_NAME_TAKEN You have a collection named {name} already. Choose another name.
409 EMAIL_TAKEN This email address belongs to an account already. Log in instead.
409 IDEMPOTENCY_IN_PROGRESS The request with this Idempotency-Key is still under way. Send it again shortly.
409 POST_NOT_PUBLISHED Your post is not published yet. Like, save or comment on it when it is.
409 STORY_NOT_PUBLISHED Your story is not published yet. Try again when it is.
409 USERNAME_CHANGED_TOO_OFTEN You gave up {limit} names that are still kept for you. Take one of them back, or wait until {free_at}.
409 USERNAME_TAKEN The name {username} is taken. Choose another.
413 BODY_TOO_LARGE The body is larger than this route takes.
413 FILE_TOO_LARGE {name} is larger than the {limit} that a picture may have.
413 UPLOAD_TOO_LARGE The whole upload is larger than {limit}.
415 UNSUPPORTED_FORMAT {name} is of a kind that is not taken here ({seen}). Send JPEG, PNG, WebP, GIF, AVIF or HEIC.
415 UNSUPPORTED_MEDIA_TYPE Send {expected}.
422 CANNOT_BLOCK_SELF You cannot block yourself.
422 CANNOT_FOLLOW_SELF You cannot follow yourself.
422 CANNOT_LIST_SELF You see your own stories always; the lists of who does are of others.
422 CANNOT_MUTE_SELF You cannot mute yourself.
422 CANNOT_REACT_TO_OWN You cannot react to a story of your own.
422 COMMENT_EMPTY A comment has a text.
422 EMPTY_FILE {name} is empty.
422 HIGHLIGHT_FULL There are {limit} stories in this highlight, and there cannot be more. Take one out first.
422 IDEMPOTENCY_KEY_REUSED This Idempotency-Key was used for a request with another body. Give each request a key of its own.
422 INVALID_VALUE The request was understood but refused: {reason}.
422 LINK_INVALID This link is mistyped, used or too old. Ask for another.
422 MAIL_NOT_CONFIGURED This server sends no mail. Its operator can help, also with a link for a new password.
422 MEDIA_MISSING The upload has no picture. Send pictures as files in the field {field}, {limit} at most.
422 PICTURE_QUARANTINED Picture {position} of the upload has stopped this server's decoder again and again, and is not taken any more.
422 QUOTA_EXCEEDED Your pictures take {used} of the {quota} bytes that they may take; this upload does not fit. Delete some posts first.
422 REACTION_INVALID A reaction is one emoji.
422 SEARCH_EMPTY There is nothing to search for. Send in q the beginning of a user name or of a name.
422 SEARCH_TOO_LONG Search for {limit} characters at most.
422 TAG_SEARCH_EMPTY There is nothing to search for. Send in q the beginning of a hashtag.
422 TOO_MANY_COLLECTIONS You have {limit} collections, and cannot have more. Delete one first.
422 TOO_MANY_HASHTAGS A text may have {limit} hashtags at most; take some out.
422 TOO_MANY_HIGHLIGHTS You have {limit} highlights, and cannot have more. Delete one first.
422 TOO_MANY_MEDIA The upload has more pictures than the {limit} that are taken at once.
422 TOO_MANY_MENTIONS A text may mention {limit} accounts at most; take some out.
422 TOO_MANY_PIXELS {name} has {width} × {height} pixels; at most {limit} in all are taken. Send a smaller version.
429 RATE_LIMITED That was too often. Try again in {seconds} s.
431 HEADERS_TOO_LARGE The headers are too large.
500 INTERNAL Something failed on our side. Tell the operator the request id.
503 SHUTTING_DOWN This server is being stopped. Try again at once.
503 TOO_BUSY Too many ask for this at once. Try again shortly.
503 UNAVAILABLE A part of the system does not answer. Try again shortly.
503 UPLOADS_BUSY Too many uploads are under way. Try again when one of them has ended.
`;

t.test("the errors of the API", async (t) => {
  const lines = errorCatalogue().map(({ code, status, template }) => `${status} ${code} ${template}`);
  t.same(lines, PINNED.trim().split("\n"));
  for (const { code, status, template } of errorCatalogue()) {
    t.match(code, /^[A-Z][A-Z_]+$/);
    t.ok(status >= 400 && status < 600, `${code} has the status of an error`);
    t.match(template, /^[A-Z{].*[.}]$/, `${code} has a sentence`);
  }
});

t.test("how an error is made", async (t) => {
  const tooMany = defineError("TEST_TOO_MANY", 422, "{name} has {count} of {limit}.");
  const cause = new Error("cause");
  const error = tooMany({ name: "{count} $& $1", count: 3, limit: 2 }, { details: { limit: 2 }, retryAfter: 7, cause });
  t.ok(error instanceof HttpError);
  t.match(error, { code: "TEST_TOO_MANY", status: 422, details: { limit: 2 }, retryAfter: 7, cause });
  t.equal(error.message, "{count} $& $1 has 3 of 2.", "what a client sent is no template");
  t.throws(() => defineError("TEST_TOO_MANY", 400, "Again."), /TEST_TOO_MANY is defined twice/);
});

t.test("the list of features", async (t) => {
  const names = features.map(({ name }) => name);
  t.equal(new Set(names).size, names.length, "no name twice");
  for (const [index, { name, requires, core }] of features.entries()) {
    for (const required of requires) {
      const at = names.indexOf(required);
      t.ok(at >= 0 && at < index, `${name} comes after ${required}`);
      if (core) t.ok(features[at]?.core, `${name} is always on, so ${required} must be`);
    }
  }
  t.same(
    names.filter((_, index) => features[index]?.core),
    ["tickets", "accounts", "idempotency", "graph", "media", "avatars", "posts"],
  );
  t.equal(features.filter(({ authenticate }) => authenticate).length, 1, "one feature says who a token is");
  const jobs = features.flatMap((feature) => feature.jobs ?? []).map(({ name }) => name);
  t.equal(new Set<string>(jobs).size, jobs.length, "no job twice");
});
