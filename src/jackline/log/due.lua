#!lua flags=no-writes
-- Runs that may be claimable by now, the longest due first, the older first among equals.
--
-- KEYS, all in the index's slot: 1 runs (sorted set by serial)  2… sorted sets of due runs
-- ARGV: 1 how many of each sorted set at most
-- Answers: NOW RUN RUN …
--
-- Guarantee: none; these are places to look.

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local found = {}
for i = 2, #KEYS do
  local hits = redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
  for j = 1, #hits, 2 do
    local serial = tonumber(redis.call('ZSCORE', KEYS[1], hits[j]) or 0)
    found[#found + 1] = {hits[j], tonumber(hits[j + 1]), serial}
  end
end
table.sort(found, function(a, b)
  if a[2] ~= b[2] then return a[2] < b[2] end
  return a[3] < b[3]
end)
local answer = {now}
for i, hit in ipairs(found) do answer[i + 1] = hit[1] end
return answer
