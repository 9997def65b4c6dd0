#!lua flags=allow-oom
-- Removes one finished run, or a whole conversation whose runs have all finished. Works without
-- free memory: it is how memory is freed.
--
-- KEYS, all in the conversation's slot:
--   1 conversation (hash)  2 waiting runs (list)  3 numbers (sorted set)  4 start tokens (hash)
--   The keys of the runs are made from the base: which there are is only known here.
-- ARGV: 1 base of the conversation's keys  2 number of the run, or "" for all
-- Answers: unknown | busy NUMBER | ok NUMBER …   (the runs removed)
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
for _, number in ipairs(numbers) do
  if not redis.call('HGET', base .. ':r:' .. number, 'closed') then return {'busy', number} end
end

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
