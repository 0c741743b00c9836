import { mkdir, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { hears, installPackages, programOf } from "./machine.ts";
import type { Service } from "./service.ts";

const find = () => programOf("nginx");

/**
 * nginx with server blocks of the caller's.
 * @param servers what stands in its `http` block; it gets the port to listen on, of 127.0.0.1.
 */
export const nginxWith = (servers: (port: number) => string): Service => ({
  name: "nginx",
  // Its workers outlive it when it is killed.
  endedBy: "TERM",
  find,
  async install() {
    if (!(await find())) await installPackages(["nginx"], "from https://nginx.org/en/docs/install.html");
  },
  async prepare(program, { folder, port }) {
    const configuration = join(folder, "nginx.conf");
    await mkdir(join(folder, "temporary"));
    await writeFile(configuration, configurationOf(servers(port)));
    return { program, args: ["-p", folder, "-c", configuration, "-e", "stderr"] };
  },
  // Only that it listens: a request would go on to whatever is behind it.
  answers: ({ port }) => hears(port, "", () => true),
  url: ({ port }) => `http://127.0.0.1:${port}`,
});

const TEMPORARY = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];

function configurationOf(servers: string): string {
  return [
    // Else root's workers are somebody who cannot read a test's files.
    ...(process.getuid?.() === 0 ? [`user ${userInfo().username};`] : []),
    "daemon off;",
    "worker_processes 1;",
    "pid nginx.pid;",
    "error_log stderr;",
    "events { worker_connections 256; }",
    "http {",
    "access_log off;",
    ...TEMPORARY.map((kind) => `${kind}_temp_path temporary/${kind};`),
    servers,
    "}\n",
  ].join("\n");
}
