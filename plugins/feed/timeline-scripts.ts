import { defineScript, KNOWS_ALL } from "../../src/redis/scripts.ts";

/**
 * A timeline in Redis is a list of entries (entries.ts), the newest first, each once, and a hash beside it that says how
 * it was built. It is there for those who read, for 7 days: what is pushed to one that is not there is not kept.
 *
 * Why a list. Measured with 20,000 timelines of 500 entries in calls of 100 (`npm run measure:timelines`,
 * docs/benchmarks.md), against a sorted set: 14 to 15 KB and not 64 to 77 a timeline, 2.2 times the appends, 1.1 times the
 * first pages and 0.85 times those from the middle. An entry that is late by half a timeline costs a list a walk over its
 * elements, 16 times as much, and is rare. A string of entries is read 1.5 times as quickly, but takes 29 KB once it was
 * appended to, because Redis doubles what grows.
 */
export const CAPACITY = 500;
/** It is cut only above this, so that not every push has to. */
export const SLACK = 50;

/** Whether entry a is newer than b. Not `a > b`: Redis compares strings by the server's locale. */
const NEWER = `
local function newer(a, b)
  local ta, tb = struct.unpack('>I8', a), struct.unpack('>I8', b)
  if ta ~= tb then return ta > tb end
  for i = 9, 24 do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return false
end
local END = string.rep('\\0', 24)
`;

/**
 * KEYS timelines; ARGV the entry. Almost always it is the newest and stays where it was put; else it is moved to its
 * place, or away if it is there already. Below the last of a timeline that was cut it is not kept: there Postgres is read.
 * @returns how many timelines there were.
 */
export const PUSH = defineScript(`${NEWER}
local entry, call, pushed = ARGV[1], redis.call, 0
local at = struct.unpack('>I8', entry)
local function settle(key)
  call('LPOP', key)
  local first, some = 0
  repeat
    some = call('LRANGE', key, first, first + 19)
    for _, other in ipairs(some) do
      if other == entry then return end
      if newer(entry, other) then return call('LINSERT', key, 'BEFORE', other, entry) end
    end
    first = first + 20
  until #some < 20
end
for i = 1, #KEYS do
  local key = KEYS[i]
  local length = call('LPUSHX', key, entry)
  if length > 0 then
    pushed = pushed + 1
    local next = call('LINDEX', key, 1)
    if next and struct.unpack('>I8', next) >= at then settle(key) end
    if length > ${CAPACITY + SLACK} then call('LTRIM', key, 0, ${CAPACITY - 1}) end
  end
end
return pushed`);

/** KEYS timelines; ARGV entries. @returns how many were taken out. */
export const REMOVE = defineScript(`
local removed = 0
for i = 1, #KEYS do
  for j = 1, #ARGV do removed = removed + redis.call('LREM', KEYS[i], 0, ARGV[j]) end
end
return removed`);

/**
 * KEYS timeline, hash; ARGV version, entries. What was found not to belong into a timeline of that version is taken out of
 * that one alone: it may belong into one that was built since.
 */
export const TAKE_OUT = defineScript(`
if redis.call('HGET', KEYS[2], 'version') ~= ARGV[1] then return end
for i = 2, #ARGV do redis.call('LREM', KEYS[1], 0, ARGV[i]) end`);

/**
 * KEYS timeline, hash; ARGV epoch, version of the snapshot that is known already, entry after which to begin or '', how
 * many entries, seconds to live.
 * @returns nothing if it is not built, else: what transactions it saw, the version, the snapshot unless it is known, entries.
 */
export const READ = defineScript(`${NEWER}
local meta = redis.call('HMGET', KEYS[2], 'epoch', 'xmin', 'version')
if meta[1] ~= ARGV[1] then return {} end
local length = redis.call('LLEN', KEYS[1])
if length == 0 then return {} end
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('EXPIRE', KEYS[2], ARGV[5])
local first = 0
if ARGV[3] ~= '' then
  local place = redis.call('LPOS', KEYS[1], ARGV[3])
  local last = length
  if place then first, last = place + 1, place + 1 end
  while first < last do
    local middle = math.floor((first + last) / 2)
    if newer(ARGV[3], redis.call('LINDEX', KEYS[1], middle)) then last = middle else first = middle + 1 end
  end
end
local entries = table.concat(redis.call('LRANGE', KEYS[1], first, first + ARGV[4] - 1))
local snapshot = false
if meta[3] ~= ARGV[2] then snapshot = redis.call('HGET', KEYS[2], 'snapshot') end
return {meta[2], meta[3], snapshot, entries}`);

/**
 * Begins to build a timeline: it is there from now on and takes what is pushed, but nobody reads it.
 * KEYS timeline, hash, generation; ARGV token, epoch, milliseconds that building may take, '1' to build it anew.
 * @returns 'begun', 'built' if it is there already, 'busy' if somebody else is building it or making a generation, 'new' if
 * there is none.
 */
export const BEGIN = defineScript(`
local meta = redis.call('HMGET', KEYS[2], 'epoch', 'building', 'until')
if ARGV[4] ~= '1' and meta[1] == ARGV[2] and redis.call('EXISTS', KEYS[1]) == 1 then return 'built' end
local generation = redis.call('GET', KEYS[3])
if not generation then return 'new' end
-- The mark of who makes one: what is read of Postgres before it is there would not be kept.
if not string.match(generation, '^%d+:') then return 'busy' end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if meta[2] and now < tonumber(meta[3]) then return 'busy' end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('RPUSH', KEYS[1], string.rep('\\0', 24))
redis.call('HSET', KEYS[2], 'building', ARGV[1], 'until', string.format('%.0f', now + ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 'begun'`);

/**
 * Keeps what was built, with what was pushed meanwhile, unless it does not know of a change.
 * KEYS timeline, hash, last change, generation; ARGV token, epoch, version, snapshot, seconds to live, '1' if the entries reach back to
 * the beginning, entries, xmin, xmax, running.
 * @returns 1 if it was kept.
 */
export const FINISH = defineScript(`${KNOWS_ALL}${NEWER}
if redis.call('HGET', KEYS[2], 'building') ~= ARGV[1] then return 0 end
local pushed = redis.call('LRANGE', KEYS[1], 0, -1)
redis.call('DEL', KEYS[1], KEYS[2])
-- Emptied or evicted meanwhile, and with it what was pushed.
if #pushed == 0 then return 0 end
if not knows_all(KEYS[3], KEYS[4], ARGV[8], ARGV[9], ARGV[10]) then return 0 end
local merged, complete, next = {}, ARGV[6] == '1', 1
if pushed[#pushed] == END then pushed[#pushed] = nil end
for at = 1, #ARGV[7], 24 do
  local entry = string.sub(ARGV[7], at, at + 23)
  while pushed[next] and newer(pushed[next], entry) do
    merged[#merged + 1] = pushed[next]
    next = next + 1
  end
  if pushed[next] == entry then next = next + 1 end
  merged[#merged + 1] = entry
end
while complete and pushed[next] do
  merged[#merged + 1] = pushed[next]
  next = next + 1
end
local length = math.min(#merged, ${CAPACITY})
if complete and #merged <= ${CAPACITY} then
  length = length + 1
  merged[length] = END
end
redis.call('RPUSH', KEYS[1], unpack(merged, 1, length))
redis.call('HSET', KEYS[2], 'epoch', ARGV[2], 'xmin', ARGV[8], 'version', ARGV[3], 'snapshot', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('EXPIRE', KEYS[2], ARGV[5])
return 1`);

/** Gives up building: whoever asks next begins anew. KEYS timeline, hash; ARGV token. */
export const ABANDON = defineScript(`
if redis.call('HGET', KEYS[2], 'building') == ARGV[1] then redis.call('DEL', KEYS[1], KEYS[2]) end`);

/** KEYS timeline, hash, last change; ARGV the transaction that changes, seconds that it is remembered. */
export const DROP = defineScript(`
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[2])`);

/**
 * The whole of a timeline, for operators: unlike READ it leaves the timeline as old as it was.
 * KEYS timeline, hash; ARGV epoch. @returns nothing if it is not built, else what transactions it saw, and the entries.
 */
export const PEEK = defineScript(`
local meta = redis.call('HMGET', KEYS[2], 'epoch', 'xmin')
if meta[1] ~= ARGV[1] then return {} end
return {meta[2], table.concat(redis.call('LRANGE', KEYS[1], 0, -1))}`);

/** KEYS timeline, hash. @returns how many entries there are, and the bytes that the two take. */
export const MEASURE = defineScript(`
local bytes = 0
for i = 1, #KEYS do bytes = bytes + (redis.call('MEMORY', 'USAGE', KEYS[i], 'SAMPLES', '0') or 0) end
local length = redis.call('LLEN', KEYS[1])
if redis.call('LINDEX', KEYS[1], -1) == string.rep('\\0', 24) then length = length - 1 end
return {length, bytes}`);

/** KEYS timelines. @returns 1 for each that is there, 0 for the others. */
export const EXIST = defineScript(`
local there = {}
for i = 1, #KEYS do there[i] = redis.call('EXISTS', KEYS[i]) end
return there`);
