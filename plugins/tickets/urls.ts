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

/** The viewer's ticket is asked for with the first URL that wants one, and is the same for all of an answer. */
export async function mediaUrls({ config, db }: Pick<Context, "config" | "db">, viewerId: string): Promise<MediaUrls> {
  const sign = await ticketSigner({ db });
  const publicBase = config.media.public_base_url ?? config.public_url;
  let query: string | undefined;
  return {
    rendition(mediumId, name, ticketed) {
      if (ticketed) query ??= `?t=${sign(viewerId)}`;
      return `${ticketed ? config.public_url : publicBase}/media/${mediumId}/${name}.webp${ticketed ? query : ""}`;
    },
  };
}
