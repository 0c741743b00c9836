import t from "tap";
import { load } from "../../test/support/product/config.ts";
import { accountLoginLimit, limitOf } from "./limits.ts";

t.test("each limit of wrong passwords is switched off by itself", async (t) => {
  const limits = (name: string) => {
    const { config } = load({ env: { TINTYPE_LIMITS_ENABLED: "true", [name]: "0" } });
    return [limitOf(config, "login"), limitOf(config, "password"), accountLoginLimit(config)].map(
      (limit) => limit?.name,
    );
  };
  t.same(limits("TINTYPE_LIMITS_LOGIN"), [undefined, "password", "login_account"]);
  t.same(limits("TINTYPE_LIMITS_PASSWORD"), ["login", undefined, "login_account"]);
  t.same(limits("TINTYPE_LIMITS_LOGIN_ACCOUNT"), ["login", "password", undefined]);
});
