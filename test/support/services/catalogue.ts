import { cassandra } from "./cassandra.ts";
import { minio } from "./minio.ts";
import { nginxWith } from "./nginx.ts";
import { redis } from "./redis.ts";
import type { Service, ServiceName } from "./service.ts";
import { versitygw } from "./versitygw.ts";

/** Where `serve` listens unless it is told otherwise. */
const SERVE = "http://127.0.0.1:3000";

/** All that can be installed and started by name; this nginx stands before a `serve` on its usual port. */
export const CATALOGUE: Readonly<Record<ServiceName, Service>> = {
  redis,
  minio,
  versitygw,
  cassandra,
  nginx: nginxWith(
    (port) => `server {
listen 127.0.0.1:${port};
client_max_body_size 0;
location / { proxy_pass ${SERVE}; proxy_set_header Host $http_host; }
}`,
  ),
};
