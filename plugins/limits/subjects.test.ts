import t from "tap";
import { isOwnMachine, placeOf, subjectOfAddress, subjectOfLogin } from "./subjects.ts";

t.test("where a request comes from", async (t) => {
  for (const [address, place] of [
    ["203.0.113.7", "203.0.113.7"],
    ["::ffff:203.0.113.7", "203.0.113.7"],
    ["::FFFF:cb00:7107", "203.0.113.7"],
    ["2001:db8:0:1::5", "2001:db8:0:1::/64"],
    ["2001:0DB8:0000:0001:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"],
    ["2001:db8:0:2::5", "2001:db8:0:2::/64"],
    ["::1", "::/64"],
    ["fe80::1%eth0", "fe80::/64"],
    ["203.0.113.7:50001", "203.0.113.7"],
    ["[2001:db8:0:1::5]:443", "2001:db8:0:1::/64"],
    ["[2001:db8:0:1::5]", "2001:db8:0:1::/64"],
    ["unknown", "unknown"],
    ["", ""],
    ["x".repeat(1_000), "x".repeat(64)],
  ] as const) {
    t.equal(placeOf(address), place, address);
  }
  t.equal(subjectOfAddress("::ffff:203.0.113.7"), subjectOfAddress("203.0.113.7"));
  t.not(subjectOfAddress("203.0.113.7"), subjectOfAddress("203.0.113.8"));
  t.equal(subjectOfLogin(" Ana "), subjectOfLogin("ana"));
  for (const spelling of ["İri@example.org", "IRİ@EXAMPLE.ORG", "ir\u0130@example.org"])
    t.equal(subjectOfLogin(spelling), subjectOfLogin("iri@example.org"), spelling);
  t.not(subjectOfLogin("203.0.113.7"), subjectOfAddress("203.0.113.7"));
  for (const own of ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]) t.ok(isOwnMachine(own), own);
  for (const other of ["10.0.0.1", "::", "fe80::1", "unknown"]) t.notOk(isOwnMachine(other), other);
});

t.test("a connection that is closed has no address, and is no reason to fail", async (t) => {
  t.equal(placeOf(undefined), "");
  t.equal(isOwnMachine(undefined), false);
});
