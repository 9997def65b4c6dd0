#!lua flags=allow-oom
-- Prolongs a lease. Works without free memory too: a full store must not take running runs away.
--
-- KEYS: 1 run (hash)
-- ARGV: 1 generation  2 time to live (ms)  3 life
-- Answers: unknown | closed | doubt | fenced | ok SHORTER   (1: it now ends earlier than it would have)
--
-- Guarantee: G7, only the present holder can prolong; a lapsed lease that nobody took is good again.

local run = redis.call('HMGET', KEYS[1], 'seq', 'closed', 'expires', 'generation', 'life')
if not run[1] then return {'unknown'} end
if run[2] then return {'closed'} end
-- The claim itself may be what a server that came back has lost: its holder puts it back (heal).
if ARGV[3] ~= '' and run[5] and run[5] ~= ARGV[3] and tonumber(ARGV[1]) > tonumber(run[4]) then return {'doubt'} end
if not run[3] or run[4] ~= ARGV[1] then return {'fenced'} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expires = now + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'renewed', string.format('%.0f', now), 'expires', string.format('%.0f', expires))
return {'ok', expires < tonumber(run[3]) and 1 or 0}
