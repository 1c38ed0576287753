-- Replace one request's reservation by what its attempts cost. The same settlement twice changes nothing.
-- Functions that are not defined here are those of common.lua, which is put before every script.
-- ARGV[1]: JSON: request, and either
-- * attempts, [[number, cost in nano-USD, model], ...], and tokens, what the request consumed. The ledger, which settles
--   what no gateway did, sends no tokens: then the reserved ones stay counted; or
-- * abandoned_ms, from a gateway that does not know the outcome: only the caller's slot is given back, and the ledger
--   settles once it has written everything older than this.
-- Answers 1, or 0 when there is no such reservation.

local given = cjson.decode(ARGV[1])
local reservation = key('reservation', given.request)
local at = redis.call('HMGET', reservation, 'amount', 'window', 'tokens', 'rates', 'spends', 'holders', 'open',
  'fallbacks', 'rates_until')
if not at[1] then return 0 end

if given.abandoned_ms then
  if at[7] == '1' then
    redis.call('ZADD', RESERVATIONS, 'XX', 'LT', now_ms() + given.abandoned_ms, given.request)
    release_slots(given.request, at[4])
  end
  return 1
end

-- Spending first, then giving back: at no moment does the budget look wider than it is.
local spends = lines(at[5])
for _, attempt in ipairs(given.attempts) do
  local number, cost = attempt[1], attempt[2]
  -- An attempt that the ledger or an earlier settlement has counted stays as it is.
  if #spends > 0 and cost > 0 and redis.call('HSETNX', reservation, 'attempt:' .. number, whole(cost)) == 1 then
    for _, spent in ipairs(spends) do redis.call('HINCRBY', spent, 'pending', whole(cost)) end
    redis.call('HINCRBY', reservation, 'pending', 1)
  end
end

-- Tokens and fallbacks count for the window in which the request was admitted, also when the ledger was faster.
if given.tokens and redis.call('HSETNX', reservation, 'counted', 1) == 1 then
  for _, subject in ipairs(lines(at[4])) do
    local rate = key('rate', subject)
    -- When that window is over there is nothing to correct.
    if redis.call('HGET', rate, 'window') == at[2] then
      redis.call('HINCRBY', rate, 'tokens', given.tokens - tonumber(at[3]))
      redis.call('HINCRBY', rate, 'settled', given.tokens)
    end
  end
  local tried = {}
  for _, attempt in ipairs(given.attempts) do tried[attempt[3]] = true end
  for _, subject in ipairs(lines(at[8])) do
    -- As redis_keys.model_subject puts it together.
    if tried[string.match(subject, '^key:[^:]*:model:(.*)$')] then
      local rate = key('rate', subject)
      local last = tonumber(redis.call('HGET', rate, 'window') or '0')
      if last < tonumber(at[2]) then
        redis.call('HSET', rate, 'window', at[2], 'requests', 0, 'tokens', 0, 'settled', 0)
        redis.call('PEXPIREAT', rate, at[9])
      end
      if last <= tonumber(at[2]) then
        redis.call('HINCRBY', rate, 'requests', 1)
        redis.call('HINCRBY', rate, 'tokens', given.tokens)
        redis.call('HINCRBY', rate, 'settled', given.tokens)
      end
    end
  end
end
if at[7] ~= '1' then return 1 end

close(given.request, at[1], at[6], at[4])
if #spends == 0 then
  redis.call('EXPIRE', reservation, 60)
elseif redis.call('HGET', reservation, 'pending') == '0' then
  -- Kept a while, so that a late settlement finds it done.
  redis.call('EXPIRE', reservation, 900)
end
return 1
