import type { Config } from "../../src/config/schema.ts";
import type { Context } from "../../src/context.ts";
import { ticketSigner } from "./keyring.ts";

/** Makes the URLs of pictures for one viewer. */
export interface MediaUrls {
  /**
   * @param name of the rendition, such as `large`.
   * @param ticketed whether whoever holds the URL must be somebody: the owner's account is not public.
   */
  rendition(mediumId: string, name: string, ticketed: boolean): string;
}

export async function mediaUrls(context: Pick<Context, "config" | "db">, viewerId: string): Promise<MediaUrls> {
  return urlsWith(context.config, await ticketQuery(context, viewerId));
}

/** The query string with the viewer's ticket, which is made when it is first asked for and the same for all of an answer. */
export async function ticketQuery(context: Pick<Context, "db">, viewerId: string): Promise<() => string> {
  const sign = await ticketSigner(context);
  let query: string | undefined;
  return () => {
    query ??= `?t=${sign(viewerId)}`;
    return query;
  };
}

/** @param query what is put behind the URL of a picture that wants a ticket. */
export function urlsWith({ media, public_url }: Pick<Config, "media" | "public_url">, query: () => string): MediaUrls {
  const publicBase = media.public_base_url ?? public_url;
  return {
    rendition(mediumId, name, ticketed) {
      return `${ticketed ? public_url : publicBase}/media/${mediumId}/${name}.webp${ticketed ? query() : ""}`;
    },
  };
}
