#!lua flags=allow-oom
-- Takes a name for a while, or holds it for longer. Works without free memory: an archive must be
-- made before data can go.
--
-- KEYS: 1 the name's key
-- ARGV: 1 holder  2 time to live (ms)
-- Answers: 0 | 1
--
-- Guarantee: one holder at a time, by the store's clock.

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
