#!lua flags=allow-oom
-- Puts a run where the indexes should have it. The indexes only say where to look: every hit is
-- checked against the run, and who writes here reads the run again afterwards.
-- Works without free memory: it also takes away, and a claim must not fail half-way.
--
-- KEYS, all in the index's slot:
--   1 where (hash: run -> its sorted set of due runs)  2 due (sorted set: all agents' runs by ms)
--   3 runs  4 open  5 conversations (sorted sets by serial)  6 serial (counter)
--   7 ended (sorted set: conversation by its last ending, ms, or a time before it)
--   8 loose (the same of closed runs that may not be compacted)
-- ARGV:
--   1 run  2 conversation  3 "touch" | "new" | "open" | "closed" | "gone"
--   4 its sorted set of due runs  5 from when on it can be claimed (ms), "" for never
--   6 channel of the hints that a run becomes due
--   touch: something may change: look at it first, where it is known   new: the same for a run
--   that is about to be made   open, closed, gone: so it is
-- Answers: nothing
--
-- Guarantee: a run stands in one sorted set of due runs at most, and lists are in the order of making.

local run, state, name, due = ARGV[1], ARGV[3], ARGV[4], ARGV[5]
local former = redis.call('HGET', KEYS[1], run)

if state == 'touch' then
  if former then
    redis.call('ZADD', former, 0, run)
    redis.call('ZADD', KEYS[2], 0, run)
  end
  return
end

if state == 'gone' then
  redis.call('ZREM', KEYS[3], run)
  redis.call('ZREM', KEYS[8], run)
else
  if not redis.call('ZSCORE', KEYS[5], ARGV[2]) then
    redis.call('ZADD', KEYS[5], redis.call('INCR', KEYS[6]), ARGV[2])
  end
  if state == 'new' or not redis.call('ZSCORE', KEYS[3], run) then
    redis.call('ZADD', KEYS[3], redis.call('INCR', KEYS[6]), run)
  end
end

if state == 'open' or state == 'new' then
  redis.call('ZADD', KEYS[4], redis.call('ZSCORE', KEYS[3], run), run)
else
  redis.call('ZREM', KEYS[4], run)
  due = ''
end
if state == 'closed' then
  -- NX: a time that is too early is only a look too many; one too late would keep data too long.
  local time = redis.call('TIME')
  local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('ZADD', KEYS[7], 'NX', now, ARGV[2])
  redis.call('ZADD', KEYS[8], 'NX', now, run)
end

if former and (former ~= name or due == '') then redis.call('ZREM', former, run) end
if due == '' then
  redis.call('ZREM', KEYS[2], run)
  -- Where it belongs is kept while it is open: a touch must find it.
  if state == 'open' then redis.call('HSET', KEYS[1], run, name) else redis.call('HDEL', KEYS[1], run) end
  return
end
redis.call('HSET', KEYS[1], run, name)
redis.call('ZADD', name, due, run)
redis.call('ZADD', KEYS[2], due, run)
local time = redis.call('TIME')
local wait = tonumber(due) - (time[1] * 1000 + math.floor(time[2] / 1000))
redis.pcall('SPUBLISH', ARGV[6], string.format('%.0f', math.max(0, wait)))
