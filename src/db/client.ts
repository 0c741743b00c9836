import pg from "pg";

/**
 * A connection whose loss is told by its next query and by nothing else. A pool takes its own listener off a client that
 * it hands out, and an "error" that nobody hears (a connection that breaks between two queries) would end the process.
 */
export class Client extends pg.Client {
  constructor(config?: string | pg.ClientConfig) {
    super(config);
    this.on("error", () => undefined);
  }
}
