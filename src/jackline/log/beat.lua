#!lua flags=allow-oom
-- Says that a worker lives. Works without free memory: a full store must not look like dead workers.
--
-- KEYS, in the workers' slot: 1 beat (hash: turned, catalogue)  2 workers (sorted set by expiry, ms)
-- ARGV: 1 worker  2 time to live (ms)  3 how long ago its loop turned (ms)
--   4 has a catalogue: 0 | 1  5 catalogue
-- Answers: nothing
--
-- Guarantee: forgotten after its time, by the store's clock.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'turned', string.format('%.0f', now - tonumber(ARGV[3])))
if ARGV[4] == '1' then redis.call('HSET', KEYS[1], 'catalogue', ARGV[5]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
