#!lua
-- Makes a conversation's next run with its first entries, and the conversation if need be.
--
-- KEYS, all in the conversation's slot:
--   1 conversation (hash)  2 waiting runs (list)  3 numbers (sorted set)  4 start tokens (hash)
--   The keys of the new run are made from the base: its number is not known before.
-- ARGV:
--   1 base of the conversation's keys  2 may make the conversation: 0 | 1  3 token  4 agent
--   5 owner  6 how many entries  7 the record  8 summary  9 may wait its turn: 0 | 1  10 life
--   11 mark of the pointer in the feed that announced it, or ""
-- Answers: unknown | busy ACTIVE | ok NUMBER LAST REPEATED ACTIVE
--   ACTIVE: the number of the run it waits for, or "".
--
-- Guarantees: one active run per conversation; one run per token, however often it is tried.

local base, token = ARGV[1], ARGV[3]
local exists = redis.call('EXISTS', KEYS[1]) == 1
if not exists and ARGV[2] == '0' then return {'unknown'} end

local active = redis.call('HGET', KEYS[1], 'active')
local former = redis.call('HGET', KEYS[4], token)
if former then
  local run = redis.call('HMGET', base .. ':r:' .. former, 'seq', 'waiting')
  return {'ok', tonumber(former), tonumber(run[1]), 1, run[2] and active or ''}
end
if active and ARGV[9] == '0' then return {'busy', active} end

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
if not exists then redis.call('HSET', KEYS[1], 'owner', ARGV[5], 'created', now) end
local number = redis.call('HINCRBY', KEYS[1], 'last', 1)
local run, last = base .. ':r:' .. number, tonumber(ARGV[6])
redis.call('HSET', run, 'seq', ARGV[6], 'agent', ARGV[4], 'owner', ARGV[5], 'token', token,
  'summary', ARGV[8], 'generation', '0', 'due', now, 'created', now, 'updated', now)
if ARGV[10] ~= '' then redis.call('HSET', run, 'life', ARGV[10]) end
if last > 0 then
  local marked = ARGV[11] ~= '' and {'f', ARGV[11]} or {}
  redis.call('XADD', base .. ':e:' .. number, last .. '-0', 'v', '1', 'e', ARGV[7], unpack(marked))
end
redis.call('HSET', KEYS[4], token, number)
redis.call('ZADD', KEYS[3], number, number)
if active then
  redis.call('HSET', run, 'waiting', '1')
  redis.call('RPUSH', KEYS[2], number)
else
  redis.call('HSET', KEYS[1], 'active', number)
end
return {'ok', number, last, 0, active or ''}
