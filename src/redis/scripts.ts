import { createHash } from "node:crypto";

/** A Lua script, which Redis runs as one step: nothing else happens between its first and its last call. */
export interface Script {
  readonly lua: string;
  readonly sha: string;
}

export function defineScript(lua: string): Script {
  return { lua, sha: createHash("sha1").update(lua).digest("hex") };
}

/** For scripts that are given a Postgres snapshot as three arguments: `pgSnapshotArgs`. See src/db/snapshot.ts. */
export const HAD_ENDED = `
local function had_ended(xid, xmin, xmax, running)
  xid = tonumber(xid)
  if xid < tonumber(xmin) then return true end
  return xid < tonumber(xmax) and not string.find(running, ',' .. string.format('%.0f', xid) .. ',', 1, true)
end
`;

/** xmin, xmax and `,xid,xid,` of those that were running. */
export function pgSnapshotArgs(snapshot: { xmin: number; xmax: number; running: readonly number[] }) {
  return [snapshot.xmin, snapshot.xmax, `,${snapshot.running.join(",")},`] as const;
}
