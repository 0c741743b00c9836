import { TAKE } from "../../plugins/limits/scripts.ts";
import { defineScript, type Script } from "../../src/redis/scripts.ts";

/** One way to keep a log of places. KEYS and ARGV are those of TAKE, and so is what is answered. */
export interface Candidate {
  name: string;
  take: Script;
}

const BEGIN = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window, most, key = tonumber(ARGV[1]), tonumber(ARGV[3]), KEYS[1]`;

const sortedSet = defineScript(`${BEGIN}
redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
local used = redis.call('ZCARD', key)
local first = redis.call('ZRANGE', key, 0, 0)[1]
if used >= most then return {now, used, first + window - now, 0, first + window - now} end
local at = now
while redis.call('ZADD', key, 'NX', at, string.format('%.0f', at)) == 0 do at = at + 1 end
redis.call('PEXPIRE', key, math.ceil(window / 1000) + 1)
return {now, used + 1, (first or at) + window - now, at, 0}
`);

const list = defineScript(`${BEGIN}
local first = redis.call('LINDEX', key, 0)
while first and first + window <= now do
  redis.call('LPOP', key)
  first = redis.call('LINDEX', key, 0)
end
local used = redis.call('LLEN', key)
if used >= most then return {now, used, first + window - now, 0, first + window - now} end
local last = redis.call('LINDEX', key, -1)
local at = math.max(now, tonumber(last or 0))
redis.call('RPUSH', key, string.format('%.0f', at))
redis.call('PEXPIRE', key, math.ceil(window / 1000) + 1)
return {now, used + 1, (first or at) + window - now, at, 0}
`);

export const CANDIDATES: readonly Candidate[] = [
  { name: "packed string", take: TAKE },
  { name: "sorted set", take: sortedSet },
  { name: "list", take: list },
];
