import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { findGoProgram, type GoProgram, installGoProgram } from "./go.ts";
import { ACCESS_KEY, REGION, s3Url } from "./minio.ts";
import type { Service } from "./service.ts";

const PROGRAM: GoProgram = {
  name: "versitygw",
  source: "github.com/versity/versitygw/cmd/versitygw",
  version: "v1.8.0",
  go: "1.25",
};

/** An S3 that has no code in common with MinIO. */
export const versitygw: Service = {
  name: "versitygw",
  variable: "TINTYPE_TEST_VERSITYGW_URL",
  endedBy: "KILL",
  find: () => findGoProgram(PROGRAM),
  install: () => installGoProgram(PROGRAM),
  async prepare(program, { folder, port, secret }) {
    const [data, metadata] = [join(folder, "data"), join(folder, "metadata")];
    await mkdir(data);
    await mkdir(metadata);
    return {
      program,
      // Not every temporary folder has extended attributes, where it would keep what is said about an object.
      args: [
        ...["--port", `127.0.0.1:${port}`, "--region", REGION, "--health", "/health", "--quiet"],
        ...["posix", "--sidecar", metadata, data],
      ],
      env: { ROOT_ACCESS_KEY: ACCESS_KEY, ROOT_SECRET_KEY: secret },
    };
  },
  answers: async ({ port }) => (await fetch(`http://127.0.0.1:${port}/health`)).ok,
  url: s3Url,
};
