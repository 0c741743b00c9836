import t from "tap";
import { refusalOfTarget } from "./target.ts";

t.test("load goes to this machine, or to a host that is named as one's own", async (t) => {
  for (const target of ["http://127.0.0.1:3000", "http://127.8.9.1", "http://localhost:3000/", "http://[::1]:3000"]) {
    t.equal(refusalOfTarget(target, undefined), null, target);
  }
  t.equal(refusalOfTarget("http://photos.example:3000", "photos.example"), null);
  const refused: [string, string?][] = [
    ["http://photos.example"],
    ["http://photos.example", "example"],
    ["http://192.0.2.1", "192.0.2.2"],
    ["http://localhost.example"],
    ["http://127.0.0.1.example"],
    ["http://1270.0.0.1.example"],
    ["http://0.0.0.0"],
    // No TLS, and nothing but an origin.
    ["https://127.0.0.1"],
    ["http://127.0.0.1/path"],
    ["http://somebody@127.0.0.1"],
    ["127.0.0.1:3000"],
  ];
  for (const [target, owned] of refused) t.match(refusalOfTarget(target, owned), /^--target/, target);
});
