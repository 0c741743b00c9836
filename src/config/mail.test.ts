import t from "tap";
import { load, mistakes } from "../../test/support/product/config.ts";
import { settings } from "./schema.ts";

t.test("mail needs a server and a sender", async (t) => {
  const url = "smtp://me%40example.com:hunter%402@mail.example.com:2525";
  for (const from of ["photos@example.com", "Zoë's Fotos <photos@example.com>"]) {
    t.same(load({ env: { TINTYPE_SMTP_URL: url, TINTYPE_SMTP_FROM: from } }).config.smtp, { url, from });
  }
  t.same(mistakes({ env: { TINTYPE_SMTP_URL: url } }), [
    "smtp.from is missing: mail needs smtp.url, smtp.from; set all of them or none",
  ]);
  t.same(mistakes({ env: { TINTYPE_SMTP_FROM: "photos@example.com" } }), [
    "smtp.url is missing: mail needs smtp.url, smtp.from; set all of them or none",
  ]);
  const wrong = [
    "mail.example.com:25",
    "http://mail.example.com",
    "smtp://",
    "smtp://me:pass/hunter2@mail.example.com",
    "smtp://mail.example.com/?tls=hunter2",
    "smtp://me:hunter2%@mail.example.com",
    "smtp://:hunter2@mail.example.com",
  ];
  for (const input of wrong) {
    t.same(
      mistakes({ env: { TINTYPE_SMTP_URL: input, TINTYPE_SMTP_FROM: "photos@example.com" } }),
      [
        "smtp.url: TINTYPE_SMTP_URL in the environment is [redacted]; it must be a URL that begins with smtp:// or smtps://, such as smtp://user:password@host:587",
      ],
      input,
    );
  }
  for (const from of ["Photos", "photos@example.com, spam@example.com", "Photos <photos@example.com> <spam@x.org>"]) {
    t.same(mistakes({ env: { TINTYPE_SMTP_URL: url, TINTYPE_SMTP_FROM: from } }), [
      `smtp.from: TINTYPE_SMTP_FROM in the environment is "${from}"; it must be an email address such as photos@example.com, or Photos <photos@example.com>`,
    ]);
  }
  const setting = settings().find(({ name }) => name === "smtp.url");
  t.equal(setting?.format(url), "smtp://me%40example.com:[redacted]@mail.example.com:2525");
});
