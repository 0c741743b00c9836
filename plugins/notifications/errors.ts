import { defineError } from "../../src/http/errors.ts";

export const notificationNotFound = defineError("NOTIFICATION_NOT_FOUND", 404, "You have no such notification.");
