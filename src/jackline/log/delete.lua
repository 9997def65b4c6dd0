#!lua flags=allow-oom
-- Removes one finished run, or a whole conversation whose runs have all finished. Works without
-- free memory: it is how memory is freed.
--
-- KEYS, all in the conversation's slot:
--   1 conversation (hash)  2 waiting runs (list)  3 numbers (sorted set)  4 start tokens (hash)
--   The keys of the runs are made from the base: which there are is only known here.
-- ARGV: 1 base of the conversation's keys  2 number of the run, or "" for all
--   3 "", or only if the last ending came at this time (ms) or earlier
-- Answers: unknown | busy NUMBER | later | ok NUMBER …   (the runs removed)
--
-- Guarantee: an open run is never removed, and a removed one leaves nothing behind in this slot.

local base = ARGV[1]
if redis.call('EXISTS', KEYS[1]) == 0 then return {'unknown'} end
local numbers = {ARGV[2]}
if ARGV[2] == '' then
  numbers = redis.call('ZRANGE', KEYS[3], 0, -1)
elseif not redis.call('ZSCORE', KEYS[3], ARGV[2]) then
  return {'unknown'}
end
local latest = #numbers == 0 and tonumber(redis.call('HGET', KEYS[1], 'created')) or 0
for _, number in ipairs(numbers) do
  local run = redis.call('HMGET', base .. ':r:' .. number, 'closed', 'updated')
  if not run[1] then return {'busy', number} end
  latest = math.max(latest, tonumber(run[2]))
end
if ARGV[3] ~= '' and latest > tonumber(ARGV[3]) then return {'later'} end

local answer = {'ok'}
for _, number in ipairs(numbers) do
  local token = redis.call('HGET', base .. ':r:' .. number, 'token')
  if token then redis.call('HDEL', KEYS[4], token) end
  redis.call('UNLINK', base .. ':r:' .. number, base .. ':e:' .. number, base .. ':o:' .. number,
    base .. ':a:' .. number)
  redis.call('ZREM', KEYS[3], number)
  redis.pcall('SPUBLISH', base .. ':h', number .. ' 0 0 1\n')
  answer[#answer + 1] = number
end
if ARGV[2] == '' then redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4]) end
return answer
