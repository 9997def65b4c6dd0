#!lua flags=allow-oom
-- Ends a run's epoch at its newest entry, because somebody has seen more than the server came back with.
--
-- KEYS: 1 run (hash)
-- ARGV: 1 last: the seq of the newest entry that was read  2 how many cuts were read  3 life  4 trust
-- Answers: unknown | closed | doubt | moved LAST | ok
--
-- Guarantee: G1, whoever has seen what is gone gets a gap, and never something else at its place.

-- include: doubt

local run = redis.call('HMGET', KEYS[1], 'seq', 'closed', 'cuts')
if not run[1] then return {'unknown'} end
if run[2] then return {'closed'} end
local time = redis.call('TIME')
if doubted(KEYS[1], ARGV[3], ARGV[4], time[1] * 1000 + math.floor(time[2] / 1000)) then return {'doubt'} end
local cuts = redis.call('HGET', KEYS[1], 'cuts')
local _, count = string.gsub(cuts or '', '%S+', '')
if run[1] ~= ARGV[1] or count ~= tonumber(ARGV[2]) then return {'moved', tonumber(run[1])} end
redis.call('HSET', KEYS[1], 'cuts', (cuts and cuts .. ' ' or '') .. run[1])
return {'ok'}
