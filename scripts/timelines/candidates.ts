import type { ChainableCommander } from "ioredis";
import { CAPACITY, PUSH, READ } from "../../plugins/feed/timeline-scripts.ts";
import { defineScript, type Script } from "../../src/redis/scripts.ts";

const ENTRY_BYTES = 24;

/** One way to keep a timeline, which can do what the product asks of one. Scripts take the keys and arguments of PUSH and READ. */
export interface Candidate {
  name: "list" | "sorted set" | "string";
  /** @param entries newest first, the last one being END. */
  load(pipeline: ChainableCommander, key: string, entries: readonly Buffer[]): void;
  push: Script;
  read: Script;
  /** What `read` answered, newest first. */
  entries(bytes: Buffer): Buffer[];
}

/** As the product cuts: back to 500 above 550. */
const MOST = CAPACITY + 50;

/** What READ does before it comes to the entries. */
const READ_HEAD = `
local call, key = redis.call, KEYS[1]
local meta = call('HMGET', KEYS[2], 'epoch', 'xmin', 'version')
if meta[1] ~= ARGV[1] then return {} end
if call('EXPIRE', key, ARGV[5]) == 0 then return {} end
call('EXPIRE', KEYS[2], ARGV[5])`;

const READ_TAIL = `
local snapshot = false
if meta[3] ~= ARGV[2] then snapshot = call('HGET', KEYS[2], 'snapshot') end
return {meta[2], meta[3], snapshot, entries}`;

/** What the product has. */
const list: Candidate = {
  name: "list",
  load: (pipeline, key, entries) => pipeline.rpush(key, ...entries),
  push: PUSH,
  read: READ,
  entries: splitEntries,
};

/**
 * Whole entries, scored by their milliseconds: ids alone take the same memory, since both are rounded up to 32 bytes, and
 * reading their scores beside them half as long again. A cursor's post is taken to be there still: what it costs otherwise
 * is left out.
 */
const sortedSet: Candidate = {
  name: "sorted set",
  load: (pipeline, key, entries) =>
    pipeline.zadd(key, ...entries.flatMap((entry) => [Number(entry.readBigUInt64BE()), entry])),
  push: defineScript(`
local call, pushed = redis.call, 0
local at = struct.unpack('>I8', ARGV[1])
for i = 1, #KEYS do
  local key = KEYS[i]
  if call('EXISTS', key) == 1 then
    pushed = pushed + 1
    call('ZADD', key, at, ARGV[1])
    if call('ZCARD', key) > ${MOST} then call('ZREMRANGEBYRANK', key, 0, -${CAPACITY + 1}) end
  end
end
return pushed`),
  read: defineScript(`${READ_HEAD}
local first = 0
if ARGV[3] ~= '' then first = call('ZREVRANK', key, ARGV[3]) + 1 end
local entries = table.concat(call('ZREVRANGE', key, first, first + ARGV[4] - 1))${READ_TAIL}`),
  entries: splitEntries,
};

/** Entries one behind the other, the oldest first, so that a new one is appended. Here no two have the same time. */
const FIND = `
local function find(key, at, length)
  local first, last = 0, length / 24
  while first < last do
    local middle = math.floor((first + last) / 2)
    if struct.unpack('>I8', redis.call('GETRANGE', key, middle * 24, middle * 24 + 7)) < at then first = middle + 1
    else last = middle end
  end
  return first * 24
end`;

const string: Candidate = {
  name: "string",
  load: (pipeline, key, entries) => pipeline.set(key, Buffer.concat(entries.toReversed())),
  push: defineScript(`${FIND}
local entry, call, pushed = ARGV[1], redis.call, 0
local at = struct.unpack('>I8', entry)
local function settle(key, length)
  local place = find(key, at, length)
  if call('GETRANGE', key, place, place + 23) == entry then return length end
  local older = place > 0 and call('GETRANGE', key, 0, place - 1) or ''
  call('SET', key, older .. entry .. call('GETRANGE', key, place, -1), 'KEEPTTL')
  return length + 24
end
for i = 1, #KEYS do
  local key = KEYS[i]
  local newest = call('GETRANGE', key, -24, -17)
  if newest ~= '' then
    pushed = pushed + 1
    local length
    if struct.unpack('>I8', newest) < at then length = call('APPEND', key, entry)
    else length = settle(key, call('STRLEN', key)) end
    if length > ${MOST * 24} then call('SET', key, call('GETRANGE', key, -${CAPACITY * 24}, -1), 'KEEPTTL') end
  end
end
return pushed`),
  read: defineScript(`${FIND}${READ_HEAD}
local last = call('STRLEN', key)
if ARGV[3] ~= '' then last = find(key, struct.unpack('>I8', ARGV[3]), last) end
local entries = last > 0 and call('GETRANGE', key, math.max(0, last - 24 * ARGV[4]), last - 1) or ''${READ_TAIL}`),
  entries: (bytes) => splitEntries(bytes).reverse(),
};

export const CANDIDATES: readonly Candidate[] = [list, sortedSet, string];

/** Entries as they are sent, one behind the other. */
function splitEntries(bytes: Buffer): Buffer[] {
  return Array.from({ length: bytes.length / ENTRY_BYTES }, (_, n) =>
    bytes.subarray(n * ENTRY_BYTES, (n + 1) * ENTRY_BYTES),
  );
}
