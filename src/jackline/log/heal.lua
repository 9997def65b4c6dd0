#!lua flags=allow-oom
-- Puts back what a run is missing after its server came back, or says that it cannot be had again.
--
-- KEYS, in the conversation's slot: 1 run (hash)  2 records (stream)  3 once-names (hash: name -> seq)
-- ARGV:
--   1 base of the conversation's keys  2 number of the run  3 generation  4 worker  5 time to live (ms)
--   6 revision  7 life  8 last: the seq of the newest entry that the server has
--   9 cut: 0 | 1 (what comes after `last` is lost)
--   10 has checkpoint: 0 | 1  11 checkpoint  12 has summary: 0 | 1  13 summary
--   14 mark of the pointer in the feed that announced it, or ""
--   15 how many records  then for each: its last seq, the record
--   then for each once-name: its seq, the name
-- Answers: unknown | closed | fenced | moved LAST | ok
--
-- Guarantees: G1 (the same entries at the same places), G7 (only who held the run last may do this,
-- even if its claim was lost; once another has it, nobody else), G8.

local run = redis.call('HMGET', KEYS[1], 'seq', 'closed', 'expires', 'generation', 'life', 'cuts')
if not run[1] then return {'unknown'} end
if run[2] then return {'closed'} end
local life, mine, theirs = ARGV[7], tonumber(ARGV[3]), tonumber(run[4])
if mine < theirs or (mine == theirs and not run[3]) then return {'fenced'} end
if mine > theirs and run[5] == life then return {'fenced'} end
if tonumber(run[1]) ~= tonumber(ARGV[8]) then return {'moved', tonumber(run[1])} end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local first, last, at = tonumber(ARGV[8]) + 1, tonumber(ARGV[8]), 16
local marked = ARGV[14] ~= '' and {'f', ARGV[14]} or {}
for _ = 1, tonumber(ARGV[15]) do
  redis.call('XADD', KEYS[2], ARGV[at] .. '-0', 'v', '1', 'e', ARGV[at + 1], unpack(marked))
  last = tonumber(ARGV[at])
  at = at + 2
end
for i = at, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i + 1], ARGV[i]) end
redis.call('HSET', KEYS[1], 'seq', string.format('%.0f', last), 'updated', string.format('%.0f', now),
  'generation', ARGV[3], 'worker', ARGV[4], 'expires', string.format('%.0f', now + tonumber(ARGV[5])),
  'ttl', ARGV[5], 'revision', ARGV[6], 'unreleased', '1', 'renewed', string.format('%.0f', now))
if life ~= '' then redis.call('HSET', KEYS[1], 'life', life) end
redis.call('HDEL', KEYS[1], 'doubt')
if ARGV[9] == '1' then redis.call('HSET', KEYS[1], 'cuts', (run[6] and run[6] .. ' ' or '') .. run[1]) end
if ARGV[10] == '1' then redis.call('HSET', KEYS[1], 'checkpoint', ARGV[11]) end
if ARGV[12] == '1' then redis.call('HSET', KEYS[1], 'summary', ARGV[13]) end
redis.pcall('SPUBLISH', ARGV[1] .. ':h', string.format('%s %.0f %.0f 0\n', ARGV[2], first, last))
return {'ok'}
