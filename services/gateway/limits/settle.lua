-- Replace one request's reservation by what its attempts cost. The same settlement twice changes nothing.
-- ARGV[1]: JSON: prefix, request, and either
-- * attempts ([[number, cost in nano-USD, model], ...]) and tokens, what the request consumed; the ledger, which gives back
--   what nobody settled, does not know them: then the bound stays counted; or
-- * abandoned_ms: the outcome is unknown; only the caller's place is given back, and the ledger decides about the rest
--   as soon as it has heard everything for so long.
-- Answers 1, or 0 when there is no such reservation.

local ask = cjson.decode(ARGV[1])
local function key(kind, name) return ask.prefix .. ':' .. kind .. ':' .. name end
local function lines(text)
  local found = {}
  for line in string.gmatch(text or '', '[^\n]+') do found[#found + 1] = line end
  return found
end

local reservation = key('reservation', ask.request)
local at = redis.call('HMGET', reservation, 'amount', 'window', 'tokens', 'rates', 'spends', 'holders', 'open',
  'fallbacks', 'rates_until')
if not at[1] then return 0 end

if ask.abandoned_ms then
  if at[7] == '1' then
    local clock = redis.call('TIME')
    local due = tonumber(clock[1]) * 1000 + ask.abandoned_ms
    redis.call('ZADD', ask.prefix .. ':reservations', 'XX', 'LT', due, ask.request)
    for _, subject in ipairs(lines(at[4])) do redis.call('ZREM', key('live', subject), ask.request) end
  end
  return 1
end

-- Spending first, then giving back: at no moment does the budget look wider than it is.
local spends = lines(at[5])
for _, attempt in ipairs(ask.attempts) do
  local number, cost = attempt[1], attempt[2]
  -- An attempt that the ledger or an earlier settlement has counted stays as it is.
  if #spends > 0 and cost > 0 and redis.call('HSETNX', reservation, 'attempt:' .. number, string.format('%.0f', cost)) == 1 then
    for _, spent in ipairs(spends) do redis.call('HINCRBY', spent, 'pending', string.format('%.0f', cost)) end
    redis.call('HINCRBY', reservation, 'pending', 1)
  end
end

-- Tokens and fallbacks count for the window in which the request was admitted, also when the ledger was faster.
if ask.tokens and redis.call('HSETNX', reservation, 'counted', 1) == 1 then
  for _, subject in ipairs(lines(at[4])) do
    local rate = key('rate', subject)
    -- When that window is over there is nothing to correct.
    if redis.call('HGET', rate, 'window') == at[2] then
      redis.call('HINCRBY', rate, 'tokens', ask.tokens - tonumber(at[3]))
      redis.call('HINCRBY', rate, 'settled', ask.tokens)
    end
  end
  local tried = {}
  for _, attempt in ipairs(ask.attempts) do tried[attempt[3]] = true end
  for _, subject in ipairs(lines(at[8])) do
    if tried[string.match(subject, '^key:[^:]*:model:(.*)$')] then
      local rate = key('rate', subject)
      local last = tonumber(redis.call('HGET', rate, 'window') or '0')
      if last < tonumber(at[2]) then
        redis.call('HSET', rate, 'window', at[2], 'requests', 0, 'tokens', 0, 'settled', 0)
        redis.call('PEXPIREAT', rate, at[9])
      end
      if last <= tonumber(at[2]) then
        redis.call('HINCRBY', rate, 'requests', 1)
        redis.call('HINCRBY', rate, 'tokens', ask.tokens)
        redis.call('HINCRBY', rate, 'settled', ask.tokens)
      end
    end
  end
end
if at[7] ~= '1' then return 1 end

redis.call('HSET', reservation, 'open', 0)
redis.call('ZREM', ask.prefix .. ':reservations', ask.request)
for _, held in ipairs(lines(at[6])) do
  if redis.call('DECRBY', held, at[1]) == 0 then redis.call('DEL', held) end
end
for _, subject in ipairs(lines(at[4])) do redis.call('ZREM', key('live', subject), ask.request) end
if #spends == 0 then
  redis.call('EXPIRE', reservation, 60)
elseif redis.call('HGET', reservation, 'pending') == '0' then
  -- Kept a while, so that whoever comes late finds it done.
  redis.call('EXPIRE', reservation, 900)
end
return 1
