#!lua
-- Puts a closed run's compacted records, made beside it, in the place of its records.
--
-- KEYS, all in the conversation's slot: 1 run (hash)  2 records (stream)  3 compacted records (stream)
-- ARGV: 1 seq that was read  2 how many records were read  3 how many were made of them
-- Answers: not | ok
--
-- Guarantee: G1, it happens in one step, to a run that can no longer change, and only if all of what
-- was made is there (its key expires, so that a keeper that dies leaves nothing behind).

local run = redis.call('HMGET', KEYS[1], 'seq', 'closed', 'compacted')
if not run[2] or run[3] or run[1] ~= ARGV[1] or redis.call('XLEN', KEYS[2]) ~= tonumber(ARGV[2])
  or redis.call('XLEN', KEYS[3]) ~= tonumber(ARGV[3]) then
  redis.call('UNLINK', KEYS[3])
  return {'not'}
end
if tonumber(ARGV[3]) > 0 then -- a run that was closed without a word has no stream to put in place
  redis.call('PERSIST', KEYS[3])
  redis.call('RENAME', KEYS[3], KEYS[2])
end
redis.call('HSET', KEYS[1], 'compacted', '1')
return {'ok'}
