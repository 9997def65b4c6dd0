#!lua
-- Stores a value beside its run.
--
-- KEYS, in the conversation's slot: 1 run (hash)  2 artifacts (hash: id -> media type, newline, bytes)
-- ARGV: 1 artifact's id  2 media type, newline, bytes
-- Answers: unknown | ok
--
-- Guarantee: nothing is stored for a run that does not exist, so nothing outlives a deletion.

if redis.call('EXISTS', KEYS[1]) == 0 then return {'unknown'} end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return {'ok'}
