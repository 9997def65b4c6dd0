#!lua
-- Appends one group of entries to a run, all or nothing, as one record whose id is its last seq.
--
-- KEYS, all in the conversation's slot:
--   1 run (hash)  2 records (stream)  3 once-names (hash: name -> seq)
--   Those of the conversation, and of the run whose turn comes, are made from the base: only an ending
--   needs them, and each key and argument costs every append.
-- ARGV:
--   1 base of the conversation's keys  2 number of the run  3 how many entries  4 the record
--   5 fence: "" | "nobody" | generation  6 expect: "" | seq  7 due: "keep" | "now" | "never" | ms
--   8 close: 0 | 1  9 life  10 trust
--   then, as pairs: "checkpoint" | "summary", its value; "feed", the mark of the pointer in the feed that
--   announced it; then "name", a once-name
-- The run hash is written by this script, begin, claim, heal, renew and release only.
--
-- Answers, in the order of the checks:
--   unknown | taken LAST NAME SEQ RECORD … | closed | doubt | fenced | moved LAST | full | ok LAST WOKEN
--   WOKEN: the number of the run whose turn has come, or "".
--
-- Guarantees: G1 (no hole, no double seq: the id of the record is checked by the server too),
-- G3 (nothing after the closing append), G5 and G6 (once, expect), G7 (fence).
-- It publishes the hint itself: `NUMBER FIRST LAST CLOSED EPOCH`, newline, the record if it is small.

-- Without free memory the server refuses this file, and the store sends it again with `full` true and
-- the flag allow-oom. It then takes what people decide (an append with a name), endings, and of the
-- rest as much as the last of the former allows: a stopped run must be able to say how it ended.
local full = false
local ALLOWANCE = 2 * 1024 * 1024 -- bytes of records; a worker has 1 MiB waiting at most

-- include: doubt

local base, number, count, record = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local fence, expect, due, close = ARGV[5], ARGV[6], ARGV[7], ARGV[8] == '1'

local life, trust = ARGV[9], ARGV[10]
local values, names, mark = {}, {}, false
for i = 11, #ARGV, 2 do
  if ARGV[i] == 'name' then
    names[#names + 1] = ARGV[i + 1]
  elseif ARGV[i] == 'feed' then
    mark = ARGV[i + 1]
  else
    values[#values + 1] = ARGV[i]
    values[#values + 1] = ARGV[i + 1]
  end
end
local named = #names > 0

local run = redis.call('HMGET', KEYS[1], 'seq', 'closed', 'generation', 'expires', 'life', 'cuts')
if not run[1] then return {'unknown'} end
local last = tonumber(run[1])

if named then
  local taken = {'taken', last}
  for _, name in ipairs(names) do
    local seq = redis.call('HGET', KEYS[3], name)
    if seq then
      -- The first record whose last seq is not before `seq` holds it.
      local found = redis.call('XRANGE', KEYS[2], seq, '+', 'COUNT', 1)
      taken[#taken + 1] = name
      taken[#taken + 1] = tonumber(seq)
      taken[#taken + 1] = found[1]
    end
  end
  if #taken > 2 then return taken end
end
if run[2] then return {'closed'} end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lapsed, vouched = false, false
if life ~= '' and run[5] ~= life then
  if fence ~= '' and fence ~= 'nobody' then
    if tonumber(fence) < tonumber(run[3]) then return {'fenced'} end
    -- Its claim may be what is missing.
    if not run[4] or fence ~= run[3] then return {'doubt'} end
    if expect ~= '' and tonumber(expect) ~= last then return {'moved', last} end
    -- That no entry is missing says nothing of a checkpoint, or of what is stored aside.
    if run[5] and trust ~= 'all' then return {'doubt'} end
    vouched = true
  else
    if doubted(KEYS[1], life, trust, now) then return {'doubt'} end
    run[4] = redis.call('HGET', KEYS[1], 'expires')
    run[6] = redis.call('HGET', KEYS[1], 'cuts')
  end
end
if fence == 'nobody' then
  if run[4] then
    if tonumber(run[4]) > now then return {'fenced'} end
    lapsed = run[4]
  end
elseif fence ~= '' and (not run[4] or fence ~= run[3]) then
  return {'fenced'}
end
if expect ~= '' and tonumber(expect) ~= last then return {'moved', last} end

if named then
  values[#values + 1] = 'allowance'
  values[#values + 1] = ALLOWANCE
elseif full and not close then
  local allowed = tonumber(redis.call('HGET', KEYS[1], 'allowance') or 0) - #record
  if allowed < 0 then return {'full'} end
  values[#values + 1] = 'allowance'
  values[#values + 1] = allowed
end

-- All checks are passed: from here on only writes.
local stamp = string.format('%.0f', now)
local first = last + 1
last = last + count
if count > 0 then
  -- The first write of all: should the head be behind the records, the server refuses it here.
  local id = string.format('%.0f-0', last)
  if mark then
    redis.call('XADD', KEYS[2], id, 'v', '1', 'e', record, 'f', mark)
  else
    redis.call('XADD', KEYS[2], id, 'v', '1', 'e', record)
  end
end
if vouched then
  redis.call('HSET', KEYS[1], 'life', life)
  redis.call('HDEL', KEYS[1], 'doubt')
end
if lapsed then
  redis.call('HDEL', KEYS[1], 'worker', 'expires')
  redis.call('HSET', KEYS[1], 'due', lapsed) -- it was due through its lapse, and stays so
end
for i, name in ipairs(names) do
  redis.call('HSET', KEYS[3], name, string.format('%.0f', first + i - 1))
end
if due == 'never' then
  redis.call('HDEL', KEYS[1], 'due')
elseif due ~= 'keep' then
  values[#values + 1] = 'due'
  values[#values + 1] = due == 'now' and stamp or due
end
redis.call('HSET', KEYS[1], 'seq', string.format('%.0f', last), 'updated', stamp, unpack(values))

local woken = ''
if close then
  local waits = redis.call('HEXISTS', KEYS[1], 'waiting') == 1
  redis.call('HDEL', KEYS[1], 'worker', 'expires', 'due', 'waiting', 'unreleased')
  redis.call('HSET', KEYS[1], 'closed', '1')
  if waits then
    redis.call('LREM', base .. ':w', 0, number)
  else
    woken = redis.call('LPOP', base .. ':w') or ''
    if woken == '' then
      redis.call('HDEL', base .. ':c', 'active')
    else
      redis.call('HSET', base .. ':c', 'active', woken)
      redis.call('HDEL', base .. ':r:' .. woken, 'waiting')
      redis.call('HSET', base .. ':r:' .. woken, 'due', stamp)
    end
  end
end

if count > 0 or close then
  local _, epoch = string.gsub(run[6] or '', '%S+', '')
  local hint = string.format('%s %.0f %.0f %s %d\n', number, first, last, ARGV[8], epoch)
  if #record <= 65536 then hint = hint .. record end
  -- pcall: a user without rights on the channel must not leave half an append behind.
  redis.pcall('SPUBLISH', base .. ':h', hint)
end
return {'ok', last, woken}
