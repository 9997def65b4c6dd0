#!lua flags=allow-oom
-- Gives a run back, unless something came that its holder has not read.
--
-- KEYS: 1 run (hash)
-- ARGV: 1 generation  2 expect: seq  3 due: "keep" | "now" | "never" | ms  4 life  5 trust
-- Answers: unknown | closed | doubt | fenced | moved LAST | ok
--
-- Guarantee: a command that came meanwhile is never slept over: its entry makes this `moved`.

local run = redis.call('HMGET', KEYS[1], 'seq', 'closed', 'expires', 'generation', 'life')
if not run[1] then return {'unknown'} end
if run[2] then return {'closed'} end
local anew = ARGV[4] ~= '' and run[5] ~= ARGV[4]
if anew and run[5] and tonumber(ARGV[1]) > tonumber(run[4]) then return {'doubt'} end
if not run[3] or run[4] ~= ARGV[1] then return {'fenced'} end
if tonumber(run[1]) ~= tonumber(ARGV[2]) then return {'moved', tonumber(run[1])} end
-- Who gives it back may never have read it: a supervisor whose worker died.
if anew and run[5] and ARGV[5] ~= 'all' then return {'doubt'} end
redis.call('HDEL', KEYS[1], 'worker', 'expires', 'unreleased')
if anew then
  redis.call('HSET', KEYS[1], 'life', ARGV[4])
  redis.call('HDEL', KEYS[1], 'doubt')
end
if ARGV[3] == 'never' then
  redis.call('HDEL', KEYS[1], 'due')
elseif ARGV[3] == 'now' then
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[1], 'due', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
elseif ARGV[3] ~= 'keep' then
  redis.call('HSET', KEYS[1], 'due', ARGV[3])
end
return {'ok'}
