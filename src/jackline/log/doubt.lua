-- In doubt: the run was last written before the server started anew or was promoted, so what was seen
-- of it then may be missing now. Its holder, who keeps its newest entries, puts them back (heal) or
-- vouches for it; until then nobody else may write. Should nobody come within the time of its lease,
-- it goes on from what is left, and where that ends is noted in `cuts` (G8).
--
-- life: the name of the server since its start or promotion, "" when it has none to tell.
-- trust, in a log that came back: "all", nothing that anybody saw is missing; "awaited", nothing
-- that was awaited on disk is; "nothing". A run without a holder has been awaited.
-- Returns nil when the run may be written, else for how long (ms) it may not.
local function doubted(key, life, trust, now)
  if life == '' then return nil end
  local run = redis.call('HMGET', key, 'life', 'unreleased', 'doubt', 'ttl', 'expires', 'seq', 'cuts')
  if run[1] == life then return nil end
  -- Runs of a version that knew no lives have none.
  if run[1] and (run[2] or trust == 'nothing') then
    local known, till = string.match(run[3] or '', '^(%S+) (%d+)$')
    if known ~= life then
      till = string.format('%.0f', now + (tonumber(run[4]) or 5000))
      redis.call('HSET', key, 'doubt', life .. ' ' .. till)
      if run[2] and run[5] and tonumber(run[5]) < tonumber(till) then redis.call('HSET', key, 'expires', till) end
    end
    if now < tonumber(till) then return tonumber(till) - now end
    if trust ~= 'all' then redis.call('HSET', key, 'cuts', (run[7] and run[7] .. ' ' or '') .. run[6]) end
  end
  redis.call('HSET', key, 'life', life)
  redis.call('HDEL', key, 'doubt')
  return nil
end
