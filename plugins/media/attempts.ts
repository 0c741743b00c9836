/** Tries that the processing of a medium has, the first included. */
export const ATTEMPTS = 3;
