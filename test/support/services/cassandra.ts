import { mkdir, readdir, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { pathToFileURL } from "node:url";
import { freePort } from "../ports.ts";
import { cache, cached } from "./cache.ts";
import { hears, installPackages, programOf, runTool } from "./machine.ts";
import type { Service } from "./service.ts";

const NAME = "cassandra";
const VERSION = "5.0.6";
/** The newest that Cassandra 5 runs on. */
const JAVA = "17";

/** A java of the right version; others cannot run this. */
async function findJava(): Promise<string | undefined> {
  const home = process.env.JAVA_HOME;
  for (const java of [home && join(home, "bin", "java"), await programOf("java")]) {
    if (!java) continue;
    const version = await runTool(java, ["-version"]).catch(() => "");
    if (version.includes(`version "${JAVA}.`)) return java;
  }
  return undefined;
}

const MISSING = `Java ${JAVA} and Maven: https://adoptium.net, https://maven.apache.org/install.html`;

/** From Maven, which has all the jars and nothing of what starts them. */
export const cassandra: Service = {
  name: NAME,
  variable: "TINTYPE_TEST_CASSANDRA_URL",
  endedBy: "KILL",
  async find() {
    return (await cached(NAME, VERSION)) && (await findJava());
  },
  async install() {
    if (await cassandra.find()) return;
    if (!(await findJava())) await installPackages([`openjdk-${JAVA}-jre-headless`], `with ${MISSING}`);
    if (!(await findJava())) throw new Error(`wants ${MISSING}; JAVA_HOME may name it where there are several`);
    await cache(NAME, VERSION, async (folder) => {
      if (!(await programOf("mvn"))) await installPackages(["maven"], `with ${MISSING}`);
      const pom = join(folder, "pom.xml");
      await writeFile(pom, POM);
      const jars = join(folder, "lib");
      await runTool("mvn", ["-B", "-q", "-f", pom, "dependency:copy-dependencies", `-DoutputDirectory=${jars}`]);
      if ((await readdir(jars)).length === 0) throw new Error("Maven brought no jars");
    });
  },
  async prepare(program, { folder, port }) {
    const home = await cached(NAME, VERSION);
    if (!home) throw new Error("Cassandra is not installed");
    const configuration = join(folder, "cassandra.yaml");
    const logging = join(folder, "logback.xml");
    await mkdir(join(folder, "data"));
    await writeFile(configuration, await settings(folder, port));
    await writeFile(logging, LOGGING);
    return {
      program,
      args: [
        ...["-Xms768m", "-Xmx768m", "-XX:+UseSerialGC", "-Djdk.attach.allowAttachSelf=true"],
        ...EXPORTS.flatMap((name) => ["--add-exports", `${name}=ALL-UNNAMED`]),
        ...OPENS.flatMap((name) => ["--add-opens", `${name}=ALL-UNNAMED`]),
        `-Dcassandra.config=${pathToFileURL(configuration)}`,
        `-Dlogback.configurationFile=${logging}`,
        `-Dcassandra.storagedir=${join(folder, "data")}`,
        "-Dcassandra-foreground=yes",
        // A node alone has nobody to wait for.
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.ring_delay_ms=1",
        "-Dcassandra.superuser_setup_delay_ms=0",
        ...["-cp", [folder, join(home, "lib", "*")].join(delimiter)],
        "org.apache.cassandra.service.CassandraDaemon",
      ],
    };
  },
  // OPTIONS of version 4 of its protocol, and SUPPORTED as the answer.
  answers: ({ port }) => hears(port, Uint8Array.of(4, 0, 0, 0, 5, 0, 0, 0, 0), (heard) => heard[4] === 6),
  url: ({ port }) => `127.0.0.1:${port}`,
};

const POM = `<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>tintype</groupId>
  <artifactId>services</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.cassandra</groupId>
      <artifactId>cassandra-all</artifactId>
      <version>${VERSION}</version>
    </dependency>
  </dependencies>
</project>
`;

const LOGGING = `<configuration>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level %date{ISO8601} %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="STDOUT" /></root>
</configuration>
`;

async function settings(folder: string, port: number): Promise<string> {
  const at = (name: string) => JSON.stringify(join(folder, "data", name));
  const storagePort = await freePort();
  return `cluster_name: tintype-test
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "127.0.0.1:${storagePort}"
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
native_transport_port: ${port}
storage_port: ${storagePort}
endpoint_snitch: SimpleSnitch
commitlog_sync: periodic
commitlog_sync_period: 10s
data_file_directories: [${at("tables")}]
commitlog_directory: ${at("commitlog")}
saved_caches_directory: ${at("caches")}
hints_directory: ${at("hints")}
cdc_raw_directory: ${at("cdc")}
`;
}

const packages = (module: string, ...names: string[]) => names.map((name) => `${module}/${name}`);

/** What Cassandra's own start script lets it use of Java. */
const EXPORTS = [
  ...packages("java.base", "jdk.internal.misc", "jdk.internal.ref", "sun.nio.ch"),
  ...packages("java.management.rmi", "com.sun.jmx.remote.internal.rmi"),
  ...packages("java.rmi", "sun.rmi.registry", "sun.rmi.server"),
  ...packages("java.sql", "java.sql"),
];
const OPENS = [
  ...packages("java.base", "java.lang.module", "jdk.internal.loader", "jdk.internal.ref", "jdk.internal.reflect"),
  ...packages("java.base", "jdk.internal.math", "jdk.internal.module", "jdk.internal.util.jar", "sun.nio.ch"),
  ...packages("java.base", "java.io", "java.lang", "java.lang.reflect", "java.nio"),
  ...packages("java.base", "java.util", "java.util.concurrent", "java.util.concurrent.atomic"),
  ...packages("jdk.management", "com.sun.management.internal"),
  ...packages("java.rmi", "sun.rmi.transport.tcp"),
];
