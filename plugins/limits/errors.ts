import { defineError } from "../../src/http/errors.ts";

export const rateLimited = defineError("RATE_LIMITED", 429, "That was too often. Try again in {seconds} s.");
