#!lua flags=allow-oom
-- Forgets an old reservation, or keeps it for another while.
--
-- KEYS, in the index's slot: 1 reservations (hash: key -> value)  2 their ages (sorted set by ms)
-- ARGV: 1 key  2 value that was read  3 keep: 0 | 1
-- Answers: nothing
--
-- Guarantee: a reservation made anew meanwhile stays: it has another value, or is young.

if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return end
if ARGV[3] == '1' then
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[2], string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), ARGV[1])
else
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
end
