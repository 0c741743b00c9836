import { defineError } from "../../src/http/errors.ts";

export const exportNotFound = defineError(
  "EXPORT_NOT_FOUND",
  404,
  "There is no such file, or not any more. Ask for a new one.",
);
