#!lua flags=allow-oom
-- Reads the feed: pointers to what was appended to runs, in the order in which that was announced. Works
-- without free memory: a name is all that it ever writes.
--
-- KEYS, in the feed's slot: 1 pointers (stream)  2 name of the feed (string)
-- ARGV: 1 after: id of a pointer  2 how many  3 a name for a feed that has none
--   then ids of pointers that are looked at again
-- Answers: {NAME, NOW, FIRST, LAST, ADDED, {POINTER …}, {POINTER …}}
--   NOW: ms of the server's clock.  FIRST: the oldest pointer held.
--   LAST: the newest there ever was.  ADDED: how many there ever were.  Then those after `after`, and of
--   those looked at again the ones that are still there.
--
-- Guarantee: what is said of the feed and what is read of it is of one moment.

local first, last, added = '0-0', '0-0', 0
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if not info['err'] then
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1]
    elseif info[i] == 'entries-added' then added = info[i + 1]
    elseif info[i] == 'first-entry' and info[i + 1] then first = info[i + 1][1] end
  end
end
local again = {}
for i = 4, #ARGV do
  local found = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])
  if found[1] then again[#again + 1] = found[1] end
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('SET', KEYS[2], ARGV[3], 'NX')
return {redis.call('GET', KEYS[2]), now, first, last, added,
  redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2]), again}
