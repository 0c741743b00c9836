import { randomBytes } from "node:crypto";
import { Client as Cassandra } from "cassandra-driver";
import { Redis } from "ioredis";
import { Client as S3 } from "minio";
import { CATALOGUE } from "./services/catalogue.ts";
import { Instance } from "./services/instance.ts";
import { ACCESS_KEY, REGION } from "./services/minio.ts";
import { nginxWith } from "./services/nginx.ts";
import type { Service } from "./services/service.ts";

interface Test {
  teardown(end: () => unknown): void;
  pass(message: string, options: { skip: true }): unknown;
}

/** `own`: a server of this test alone, which it may pause, kill and restart, whatever the environment names. */
interface Options {
  own?: boolean;
}

/** What a test may do to a server of its own. */
export type Own = Pick<Instance, "pid" | "log" | "pause" | "resume" | "kill" | "restart">;

export interface RedisService {
  /** `redis://:PASSWORD@127.0.0.1:PORT` */
  url: string;
  /** What the keys of this test begin with, `tintype-test-…:`; they are removed at its end. */
  prefix: string;
}

export interface S3Service {
  /** `http://127.0.0.1:PORT` */
  endpoint: string;
  accessKey: string;
  secretKey: string;
  region: string;
  /** A name of this test's own. It is not made here, but removed at its end, with all that is in it. */
  bucket: string;
}

export interface CassandraService {
  /** `127.0.0.1:PORT` */
  contactPoint: string;
  localDataCenter: string;
  /** A name of this test's own. It is not made here, but removed at its end. */
  keyspace: string;
}

export interface NginxService extends Own {
  /** `http://127.0.0.1:PORT` */
  url: string;
}

/**
 * A Redis: the one that TINTYPE_TEST_REDIS_URL names, else one of this test file's.
 * @returns undefined if there is none; the test is then skipped, and has nothing to do but return.
 * @throws instead, with CI=true.
 */
export function redisService(t: Test, options: Options & { own: true }): Promise<(RedisService & Own) | undefined>;
export function redisService(t: Test, options?: Options): Promise<RedisService | undefined>;
export async function redisService(t: Test, { own = false }: Options = {}): Promise<RedisService | undefined> {
  const found = await serverOf(t, CATALOGUE.redis, own);
  if (!found) return undefined;
  const service = { url: found.url, prefix: `${uniqueName("-")}:` };
  if (found.own) return Object.assign(controlsOf(found.own), service);
  t.teardown(() => removeKeys(service));
  return service;
}

/** Removes all keys of this service that begin with its prefix. */
export async function removeKeys({ url, prefix }: RedisService): Promise<void> {
  const redis = new Redis(url);
  try {
    for await (const keys of redis.scanStream({ match: `${prefix}*`, count: 1_000 })) {
      if (keys.length > 0) await redis.unlink(keys);
    }
  } finally {
    redis.disconnect();
  }
}

/**
 * An S3: the one that TINTYPE_TEST_S3_URL (or, for the kind `versitygw`, TINTYPE_TEST_VERSITYGW_URL) names,
 * `http://ACCESS:SECRET@HOST:PORT`, else one of this test file's.
 * @returns undefined if there is none; the test is then skipped, and has nothing to do but return.
 * @throws instead, with CI=true.
 */
export function s3Service(
  t: Test,
  options: Options & { kind?: S3Kind; own: true },
): Promise<(S3Service & Own) | undefined>;
export function s3Service(t: Test, options?: Options & { kind?: S3Kind }): Promise<S3Service | undefined>;
export async function s3Service(
  t: Test,
  { kind = "minio", own = false }: Options & { kind?: S3Kind } = {},
): Promise<S3Service | undefined> {
  const found = await serverOf(t, CATALOGUE[kind], own);
  if (!found) return undefined;
  const { origin, username, password } = new URL(found.url);
  const service = {
    endpoint: origin,
    accessKey: decodeURIComponent(username) || ACCESS_KEY,
    secretKey: decodeURIComponent(password),
    region: REGION,
    bucket: uniqueName("-"),
  };
  if (found.own) return Object.assign(controlsOf(found.own), service);
  t.teardown(() => removeBucket(service));
  return service;
}

/** MinIO, and one that is independent of it. */
export type S3Kind = "minio" | "versitygw";

/** For S3 of the same service. */
export function s3Client({ endpoint, accessKey, secretKey, region }: S3Service): S3 {
  const { hostname, port, protocol } = new URL(endpoint);
  const useSSL = protocol === "https:";
  return new S3({ endPoint: hostname, ...(port && { port: Number(port) }), useSSL, accessKey, secretKey, region });
}

/** Removes a bucket of this service, with all that is in it, where it is there. */
export async function removeBucket(service: S3Service): Promise<void> {
  const s3 = s3Client(service);
  const { bucket } = service;
  if (!(await s3.bucketExists(bucket))) return;
  for await (const { key } of s3.listIncompleteUploads(bucket, "", true)) await s3.removeIncompleteUpload(bucket, key);
  const names: string[] = [];
  for await (const { name } of s3.listObjectsV2(bucket, "", true)) names.push(name);
  if (names.length > 0) await s3.removeObjects(bucket, names);
  await s3.removeBucket(bucket);
}

/**
 * A Cassandra: the one that TINTYPE_TEST_CASSANDRA_URL names, `HOST:PORT`, else one of this test file's, which takes
 * 13 s to start and more than 1 GB of memory.
 * @returns undefined if there is none; the test is then skipped, and has nothing to do but return.
 * @throws instead, with CI=true.
 */
export function cassandraService(
  t: Test,
  options: Options & { own: true },
): Promise<(CassandraService & Own) | undefined>;
export function cassandraService(t: Test, options?: Options): Promise<CassandraService | undefined>;
export async function cassandraService(t: Test, { own = false }: Options = {}): Promise<CassandraService | undefined> {
  const found = await serverOf(t, CATALOGUE.cassandra, own);
  if (!found) return undefined;
  const service = { contactPoint: found.url, localDataCenter: "datacenter1", keyspace: uniqueName("_") };
  if (found.own) return Object.assign(controlsOf(found.own), service);
  t.teardown(async () => {
    const client = cassandraClient(service);
    await client.execute(`DROP KEYSPACE IF EXISTS ${service.keyspace}`).finally(() => client.shutdown());
  });
  return service;
}

/** For the node of the same service. */
export function cassandraClient({ contactPoint, localDataCenter }: CassandraService): Cassandra {
  const port = Number(contactPoint.split(":")[1]);
  return new Cassandra({ contactPoints: [contactPoint], localDataCenter, protocolOptions: { port } });
}

/**
 * An nginx of this test's own, run by this user.
 * @param servers what stands in its `http` block; it gets the port to listen on, of 127.0.0.1.
 * @returns undefined if it is not installed; the test is then skipped, and has nothing to do but return.
 * @throws instead, with CI=true.
 */
export async function nginxService(t: Test, servers: (port: number) => string): Promise<NginxService | undefined> {
  const found = await serverOf(t, nginxWith(servers), true);
  return found?.own && Object.assign(controlsOf(found.own), { url: found.url });
}

/** Also a name of buckets, which take no `_`, and of keyspaces, which take no `-`. */
const uniqueName = (separator: string) => ["tintype", "test", randomBytes(6).toString("hex")].join(separator);

/** By service. They end with this process. */
const instances = new Map<Service, Promise<Instance>>();

async function serverOf(t: Test, service: Service, own: boolean): Promise<{ url: string; own?: Instance } | undefined> {
  const named = service.variable && process.env[service.variable];
  if (named && !own) return { url: named };
  const program = await service.find();
  if (!program) {
    const message = `${service.name} is not installed: npm run services -- install ${service.name}`;
    if (process.env.CI === "true") throw new Error(message);
    t.pass(message, { skip: true });
    return undefined;
  }
  if (own) {
    const instance = await Instance.start(service, program);
    t.teardown(() => instance.stop());
    return { url: service.url(instance.place), own: instance };
  }
  const started = instances.get(service) ?? Instance.start(service, program);
  instances.set(service, started);
  return { url: service.url((await started).place) };
}

const controlsOf = (instance: Instance): Own => ({
  get pid() {
    return instance.pid;
  },
  log: () => instance.log(),
  pause: () => instance.pause(),
  resume: () => instance.resume(),
  kill: () => instance.kill(),
  restart: () => instance.restart(),
});
