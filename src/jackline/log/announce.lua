#!lua flags=allow-oom
-- Puts a pointer in the feed where XADD is refused for want of memory: what is appended all the same (what
-- people decide, endings) must not be missing there. The feed is bounded, so this is too.
--
-- KEYS: 1 pointers (stream)
-- ARGV: 1 how many are held  2 the pointer
-- Answers: its id
--
-- Guarantee: it takes no more memory than the feed has.

return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'p', ARGV[2])
