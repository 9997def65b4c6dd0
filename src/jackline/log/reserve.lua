#!lua flags=allow-oom
-- Reserves an idempotency key, once. Works without free memory: a stop may carry one.
--
-- KEYS, in the index's slot: 1 reservations (hash: key -> value)  2 their ages (sorted set by ms)
-- ARGV: 1 key  2 value
-- Answers: the value that stands
--
-- Guarantee: of any number of tries at once, all get the same answer. What stands is removed by
-- unreserve only.

if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 1 then
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[2], string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), ARGV[1])
end
return redis.call('HGET', KEYS[1], ARGV[1])
