/** Tickets: in the URL of a picture that is not everybody's, they say who is looking. */
export { readTicket } from "./keyring.ts";
export { type MediaUrls, mediaUrls, ticketQuery, urlsWith } from "./urls.ts";
