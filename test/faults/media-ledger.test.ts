import t from "tap";
import { tintype } from "../support/backup.ts";
import { picture } from "../support/pictures.ts";
import { publish, startService } from "../support/service.ts";

const { client, env } = await startService(t);
const ana = await client.register("ana");
const photo = await picture({ width: 500, height: 400 });
const verify = () => tintype(["media", "verify", "--older-than", "0s", "--all-hashes"], env);
const removeOrphans = () => tintype(["media", "remove-orphans", "--older-than", "0s"], env);
await publish(ana, [photo]);

t.test("rows and objects that come and go meanwhile are no differences", async (t) => {
  let stop = false;
  let rounds = 0;
  t.teardown(() => {
    stop = true;
  });
  const busy = async () => {
    while (!stop) {
      const post = await publish(ana, [photo]);
      await ana.request("DELETE", `/posts/${post.id}`);
      rounds += 1;
    }
  };
  const working = Promise.all([busy(), busy()]);
  for (let n = 0; n < 5 || rounds < 10; n++) {
    t.equal((await verify()).ok, true);
    t.equal((await removeOrphans()).removed, 0);
  }
  await tintype(["media", "reprocess"], env);
  t.equal((await verify()).ok, true, "also while all is made again");
  stop = true;
  await working;
  t.comment(`${rounds} posts were made and deleted meanwhile`);
});
