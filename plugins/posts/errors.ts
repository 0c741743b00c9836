import { defineError } from "../../src/http/errors.ts";

export const postNotFound = defineError("POST_NOT_FOUND", 404, "There is no such post.");
export const notYourPost = defineError("NOT_YOUR_POST", 403, "Only its author can change this post.");
