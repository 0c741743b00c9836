import { createHash } from "node:crypto";

/** A Lua script, which Redis runs as one step: nothing else happens between its first and its last call. */
export interface Script {
  readonly lua: string;
  readonly sha: string;
}

export function defineScript(lua: string): Script {
  return { lua, sha: createHash("sha1").update(lua).digest("hex") };
}

/**
 * For scripts that keep what was read of Postgres, and are given the snapshot that it was read by as three arguments
 * (`pgSnapshotArgs`, src/db/snapshot.ts). `knows_all` is whether that snapshot saw the end of the transaction that changed
 * the thing last, and of all that may have told of a change before this Redis was emptied (generation.ts).
 */
export const KNOWS_ALL = `
local function had_ended(xid, xmin, xmax, running)
  xid = tonumber(xid)
  if xid < tonumber(xmin) then return true end
  return xid < tonumber(xmax) and not string.find(running, ',' .. string.format('%.0f', xid) .. ',', 1, true)
end
local function knows_all(changed, generation, xmin, xmax, running)
  local after, then_running = string.match(redis.call('GET', generation) or '', '^(%d+):(.*)$')
  if not after or tonumber(xmax) <= tonumber(after) then return false end
  for xid in string.gmatch(then_running, '%d+') do
    if not had_ended(xid, xmin, xmax, running) then return false end
  end
  local last = redis.call('GET', changed)
  return not last or had_ended(last, xmin, xmax, running)
end
`;

/** xmin, xmax and `,xid,xid,` of those that were running. */
export function pgSnapshotArgs(snapshot: { xmin: number; xmax: number; running: readonly number[] }) {
  return [snapshot.xmin, snapshot.xmax, `,${snapshot.running.join(",")},`] as const;
}
