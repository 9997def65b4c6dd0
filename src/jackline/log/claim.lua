#!lua
-- Gives a worker the lease of one run, if it can be claimed and the worker serves it.
--
-- KEYS: 1 run (hash)
-- ARGV: 1 worker  2 time to live (ms)  3 life  4 trust  5 agent  6 revision  7 agent  8 revision …
--   (what it serves)
-- Answers: not | ok GENERATION AGENT REVISION LAST LAPSED EXPIRES
--   LAPSED: 1 when the claim before this one was never released.
--
-- Guarantee: G7, one holder: each claim raises the generation, the fence of every append. It is a time,
-- so that a claim which the server forgot (a failover) never has the number of a later one.

-- include: doubt

local run = redis.call('HMGET', KEYS[1], 'seq', 'closed', 'waiting', 'expires', 'due', 'agent', 'revision', 'unreleased')
if not run[1] or run[2] or run[3] then return {'not'} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local from = run[4] or run[5]
if not from or tonumber(from) > now or doubted(KEYS[1], ARGV[3], ARGV[4], now) then return {'not'} end

for i = 5, #ARGV, 2 do
  if ARGV[i] == run[6] and (not run[7] or run[7] == ARGV[i + 1]) then
    local former = tonumber(redis.call('HGET', KEYS[1], 'generation'))
    local generation = string.format('%.0f', math.max(former + 1, now))
    local expires = string.format('%.0f', now + tonumber(ARGV[2]))
    redis.call('HSET', KEYS[1], 'worker', ARGV[1], 'revision', ARGV[i + 1], 'expires', expires,
      'renewed', string.format('%.0f', now), 'unreleased', '1', 'generation', generation, 'ttl', ARGV[2])
    return {'ok', generation, run[6], ARGV[i + 1], tonumber(run[1]), run[8] and 1 or 0, expires}
  end
end
return {'not'}
