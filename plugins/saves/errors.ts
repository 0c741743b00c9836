import { defineError } from "../../src/http/errors.ts";

export const collectionNotFound = defineError("COLLECTION_NOT_FOUND", 404, "You have no such collection.");
export const collectionNameTaken = defineError(
  "COLLECTION_NAME_TAKEN",
  409,
  "You have a collection named {name} already. Choose another name.",
  { passes: true },
);
export const tooManyCollections = defineError(
  "TOO_MANY_COLLECTIONS",
  422,
  "You have {limit} collections, and cannot have more. Delete one first.",
  { passes: true },
);
