import t from "tap";
import { exactly } from "../../test/support/exactly.ts";
import { load, mistakes, withFile } from "../../test/support/product/config.ts";
import { RESERVED } from "./names.ts";
import { envName } from "./schema.ts";

t.test("names that are no settings", async (t) => {
  const unknown: Array<[name: string, meant: string | undefined]> = [
    ["TINTYPE_PROT", "TINTYPE_PORT"],
    ["TINTYPE_DATABSE_URL", "TINTYPE_DATABASE_URL"],
    ["TINTYPE_DATABASEURL", "TINTYPE_DATABASE_URL"],
    ["TINTYPE_MEDIA_MAX_PHOTOS", "TINTYPE_MEDIA_MAX_PHOTO"],
    ["TINTYPE_LIMITS_LIKES", "TINTYPE_LIMITS_LIKE"],
    ["TINTYPE_CONIFG", "TINTYPE_CONFIG"],
    ["TINTYPE_COFFEE_MACHINE", undefined],
    ["TINTYPE_", undefined],
  ];
  for (const [name, meant] of unknown) {
    const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
    t.same(mistakes({ env: { [name]: "x" } }), [`${name} is not a setting${hint}`]);
  }

  for (const name of RESERVED.map(envName)) {
    const { config, warnings } = load({ env: { [name]: "x" } });
    t.same(warnings, [`${name} is a setting of a later version and has no effect in this one.`]);
    t.same(config, load().config);
  }
  const { cwd, file } = withFile(t, '[realtime]\nport = 5\n[messages]\nretention = "1d"');
  t.same(load({ cwd, env: { TINTYPE_REALTIME_PORT: "3002" } }).warnings, [
    "TINTYPE_REALTIME_PORT is a setting of a later version and has no effect in this one.",
    `realtime.port in ${file} is a setting of a later version and has no effect in this one.`,
    `messages.retention in ${file} is a setting of a later version and has no effect in this one.`,
  ]);
});

t.test("Kubernetes' service links", async (t) => {
  const env = {
    TINTYPE_PORT: "tcp://10.0.0.1:3000",
    TINTYPE_PORT_3000_TCP: "tcp://10.0.0.1:3000",
    TINTYPE_PORT_3000_TCP_ADDR: "10.0.0.1",
    TINTYPE_PORT_3000_TCP_PORT: "3000",
    TINTYPE_PORT_3000_TCP_PROTO: "tcp",
    TINTYPE_SERVICE_HOST: "10.0.0.1",
    TINTYPE_SERVICE_PORT: "3000",
    TINTYPE_SERVICE_PORT_HTTP: "3000",
    TINTYPE_WORKER_PORT: "tcp://10.0.0.2:9100",
    TINTYPE_WORKER_SERVICE_HOST: "10.0.0.2",
  };
  const names = Object.keys(env).sort().join(", ");
  t.same(mistakes({ env }), [
    `${names}: set by Kubernetes for a service of that name; put "enableServiceLinks: false" into the pod's spec`,
  ]);
  for (const [name, value] of Object.entries(env)) {
    t.match(mistakes({ env: { [name]: value } }), exactly(/enableServiceLinks: false/), name);
  }
});
