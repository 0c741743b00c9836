/** As whom to ask for a page, one after the other. */
export interface Asked {
  url: string;
  tokens: string[];
}

/** The last answer. */
export interface Told {
  status: number;
  body: string;
}
