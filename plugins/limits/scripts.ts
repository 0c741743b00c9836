import { defineScript } from "../../src/redis/scripts.ts";

/**
 * The places that are taken of one limit, as `Log` keeps them, in one string: how much is used, then the time and the
 * amount of each entry, oldest first, 8 bytes each. Measured with 100 places (`npm run measure:limits`), in Redis' own
 * processor time: 17 µs a place, as with a sorted set, and 14 with a list. A list cannot have amounts, which bytes and slots
 * need, and two ways to keep a log are not worth 3 µs.
 *
 * The clock is Redis' own, so those of the servers do not matter. If it goes back, the log goes back with it, by as much
 * as makes its latest entry one of now: else nothing would be free again until the clock has caught up.
 */
const LOG = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = tonumber(ARGV[1])
local log = redis.call('GET', KEYS[1]) or ''
local used, first, last = 0, 9, nil
if #log > 8 then
  used = struct.unpack('>d', log)
  last = struct.unpack('>d', log, #log - 15)
  local slot = tonumber(ARGV[2])
  if last > now + slot then
    local back = last - math.ceil(now / slot) * slot
    local entries = {}
    for at = 9, #log, 16 do
      local when, amount = struct.unpack('>dd', log, at)
      entries[#entries + 1] = struct.pack('>dd', when - back, amount)
    end
    log = string.sub(log, 1, 8) .. table.concat(entries)
    last = last - back
  end
  while first < #log do
    local when, amount = struct.unpack('>dd', log, first)
    if when + window > now then break end
    used = used - amount
    first = first + 16
  end
end
local function next_free()
  if first > #log then return 0 end
  return struct.unpack('>d', log, first) + window - now
end
`;

/**
 * KEYS the log; ARGV window, slot, most, amount.
 * @returns `[now, used, next, at, wait]`; at is 0 if nothing was taken.
 */
export const TAKE = defineScript(`${LOG}
local slot, most, amount = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if used + amount > most then
  local wait, left = window, used
  for at = first, #log, 16 do
    local when, freed = struct.unpack('>dd', log, at)
    left = left - freed
    if left + amount <= most then
      wait = when + window - now
      break
    end
  end
  return {now, used, next_free(), 0, wait}
end
used = used + amount
local at = math.ceil(now / slot) * slot
local upto = #log
if first <= upto and last == at then
  upto = upto - 16
  amount = amount + struct.unpack('>d', log, #log - 7)
end
log = struct.pack('>d', used) .. string.sub(log, first, upto) .. struct.pack('>dd', at, amount)
first = 9
redis.call('SET', KEYS[1], log, 'PX', math.ceil((at + window - now) / 1000) + 1)
return {now, used, next_free(), at, 0}
`);

/** KEYS the log; ARGV window, slot, at, amount. @returns `[now, used, next]` */
export const GIVE_BACK = defineScript(`${LOG}
local at, amount = tonumber(ARGV[3]), tonumber(ARGV[4])
for index = #log - 15, first, -16 do
  local when, kept = struct.unpack('>dd', log, index)
  if when == at then
    used = used - amount
    local entry = kept > amount and struct.pack('>dd', when, kept - amount) or ''
    log = struct.pack('>d', used) .. string.sub(log, first, index - 1) .. entry .. string.sub(log, index + 16)
    first = 9
    redis.call('SET', KEYS[1], log, 'KEEPTTL')
    break
  end
end
return {now, used, next_free()}
`);

/** KEYS the log; ARGV window, slot. @returns `[now, used, next]` */
export const LOOK = defineScript(`${LOG}
return {now, used, next_free()}
`);

/** KEYS the log. */
export const FORGET = defineScript("return redis.call('DEL', KEYS[1])");
