import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { findGoProgram, type GoProgram, installGoProgram } from "./go.ts";
import type { Place, Service } from "./service.ts";

/** Of every S3 that is started here. */
export const ACCESS_KEY = "tintype-test";
export const REGION = "us-east-1";

export const s3Url = ({ port, secret }: Place): string => `http://${ACCESS_KEY}:${secret}@127.0.0.1:${port}`;

/** The last of them: its makers publish no more. */
const PROGRAM: GoProgram = {
  name: "minio",
  source: "github.com/minio/minio",
  version: "v0.0.0-20260212201848-7aac2a2c5b7c",
  go: "1.24",
};

export const minio: Service = {
  name: "minio",
  variable: "TINTYPE_TEST_S3_URL",
  endedBy: "KILL",
  find: () => findGoProgram(PROGRAM),
  install: () => installGoProgram(PROGRAM),
  async prepare(program, { folder, port, secret }) {
    const data = join(folder, "data");
    await mkdir(data);
    return {
      program,
      args: ["server", data, "--address", `127.0.0.1:${port}`, "--quiet"],
      env: {
        MINIO_ROOT_USER: ACCESS_KEY,
        MINIO_ROOT_PASSWORD: secret,
        MINIO_REGION: REGION,
        MINIO_BROWSER: "off",
        MINIO_UPDATE: "off",
      },
    };
  },
  // Its "live" is true before it takes requests.
  answers: async ({ port }) => (await fetch(`http://127.0.0.1:${port}/minio/health/cluster`)).ok,
  url: s3Url,
};
