import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** A way to a server that can be cut, as when the server goes down, and opened again on the same port. */
export interface Proxy {
  /** The given URL, through the proxy. */
  url: string;
  cut(): Promise<void>;
  open(): Promise<void>;
  /** Lets nothing through any more but keeps what is connected, as when the server is stopped (SIGSTOP). Ended by `cut`. */
  hang(): void;
}

/** Opens a way to the server of `target`; the test's end cuts it. */
export async function startProxy(t: { teardown(end: () => unknown): void }, target: string): Promise<Proxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let server: Server | null = null;
  let ownPort = 0;
  let hung = false;
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
    return socket;
  };
  const open = async () => {
    hung = false;
    server = createServer((near) => {
      if (hung) {
        keep(near).pause();
        return;
      }
      const far = keep(connect(Number(port), hostname));
      keep(near).pipe(far).pipe(near);
      near.on("close", () => far.destroy());
      far.on("close", () => near.destroy());
    }).listen(ownPort, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    ownPort = typeof address === "object" && address ? address.port : 0;
  };
  const cut = async () => {
    const closing = server;
    if (!closing) return;
    server = null;
    const closed = once(closing, "close");
    closing.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  const hang = () => {
    hung = true;
    for (const socket of sockets) socket.unpipe().pause();
  };
  await open();
  t.teardown(cut);
  const url = new URL(target);
  url.host = `127.0.0.1:${ownPort}`;
  return { url: url.href, cut, open, hang };
}
