-- Check every limit and budget of one request and reserve them all, or nothing.
-- ARGV[1]: the request as JSON (limits/admit_arguments.py). Answers JSON: a refusal (limits/refusal.py), the spends that are
-- unknown here, or the admission.
-- Time is this server's. Money is nano-USD in doubles, exact up to 9 million USD; Redis itself adds integers.

local given = cjson.decode(ARGV[1])
local now = now_ms()
local window = math.floor(now / given.window_ms)
local reset = (window + 1) * given.window_ms - now
local KEEP = 40 * 86400

-- The tightest limit of each kind among those that are shown, when so much more is counted.
local function remaining_at(requests, tokens)
  local found = {}
  for _, rate in ipairs(given.rates) do
    if rate.shown then
      for kind, limits in pairs({requests = {rate.rpm, rate.used + requests}, tokens = {rate.tpm, rate.taken + tokens}}) do
        local remaining = math.max(0, limits[1] - limits[2])
        if limits[1] > 0 and (not found[kind] or remaining < found[kind].remaining) then
          found[kind] = {limit = limits[1], remaining = remaining}
        end
      end
    end
  end
  return found
end

local function refuse(refusal)
  local now_at = remaining_at(0, 0)
  refusal.requests, refusal.tokens, refusal.reset_ms = now_at.requests, now_at.tokens, reset
  return cjson.encode({refusal = refusal})
end

-- The same request sent twice, because the first answer came too late, is one request.
local reservation = key('reservation', given.request)
local earlier = given.under_way and redis.call('HGET', reservation, 'answer')
if earlier then return earlier end

-- Rates. One of a model only takes its own candidates away; one of a caller refuses.
local closed, refused, refused_model = {}, nil, nil
for i, rate in ipairs(given.rates) do
  local at = redis.call('HMGET', key('rate', rate.subject), 'window', 'requests', 'tokens', 'settled')
  local fresh = tonumber(at[1]) ~= window
  rate.used = fresh and 0 or tonumber(at[2])
  rate.taken = fresh and 0 or tonumber(at[3])
  rate.settled = fresh and 0 or tonumber(at[4])
  rate.shown = rate.model == ''
  local kind, limit, cacheable, retry = nil, 0, 0, reset
  if rate.rpm > 0 and rate.used + 1 > rate.rpm then
    kind, limit, cacheable = 'requests', rate.rpm, reset
  elseif rate.tpm > 0 and rate.taken + given.tokens > rate.tpm then
    kind, limit = 'tokens', rate.tpm
    if rate.settled + given.tokens > rate.tpm then cacheable = reset end
  elseif rate.parallel > 0 then
    local live = key('live', rate.subject)
    redis.call('ZREMRANGEBYSCORE', live, '-inf', now)
    if redis.call('ZCARD', live) >= rate.parallel then kind, limit, retry = 'parallel', rate.parallel, 1000 end
  end
  if kind then
    local refusal = {subject = rate.subject, kind = kind, limit = limit, retry_ms = retry, cacheable_ms = cacheable}
    if rate.model == '' then
      refused = refused or refusal
    else
      closed[i], refusal.cacheable_ms = true, 0
      refused_model = refused_model or {refusal, rate}
    end
  end
end
if refused then return refuse(refused) end

-- Budgets. What is reserved counts whatever period it was reserved in, so no request in flight escapes a new one.
local left, tightest, unknown, warnings = math.huge, nil, {}, {}
for _, budget in ipairs(given.budgets) do
  local name, lasts = period(budget.period, now)
  local spent = key('spent', budget.subject .. ':' .. name)
  local at = redis.call('HMGET', spent, 'ledger', 'version', 'pending')
  if not at[2] then
    local seed = given.seeds[budget.subject .. ':' .. name]
    if seed then
      redis.call('HSET', spent, 'ledger', whole(seed[1]), 'version', whole(seed[2]))
      at[1], at[2] = seed[1], seed[2]
    else
      unknown[#unknown + 1] = {budget.subject, name}
    end
  end
  redis.call('EXPIRE', spent, KEEP)
  local held = tonumber(redis.call('GET', key('held', budget.subject)) or '0')
  local used = tonumber(at[1] or '0') + tonumber(at[3] or '0') + held
  budget.spent, budget.left, budget.held, budget.lasts = spent, budget.limit - used, held, lasts
  if budget.left < left then left, tightest = budget.left, budget end
  if budget.limit > 0 and used >= budget.soft * budget.limit then
    warnings[#warnings + 1] = {subject = budget.subject, period = budget.period, used = used / budget.limit}
  end
end
if #unknown > 0 then return cjson.encode({unknown = unknown}) end

-- Candidates, in their order: those whose bound every budget covers. Free ones need a budget that is not spent, or a plan
-- that permits them at its limit.
local admitted, amount, paid, paid_admitted, cheapest = {}, 0, false, false, math.huge
for i, candidate in ipairs(given.candidates) do
  if not closed[candidate.model] then
    local fits = candidate.cost <= left
    if candidate.cost == 0 then
      fits = left > 0 or given.free_at_limit
    else
      paid = true
      cheapest = math.min(cheapest, candidate.cost)
      paid_admitted = paid_admitted or fits
    end
    if fits then
      admitted[#admitted + 1] = i
      if candidate.cost > amount then amount = candidate.cost end
    end
  end
end
if #admitted == 0 or (paid and not paid_admitted and not given.free_at_limit) then
  if tightest and (paid or left <= 0) then
    -- What only requests under way take is free again as soon as they are over; else the budget that is spent the
    -- longest says when to come back.
    local limiting, longest = tightest, 0
    if not paid then cheapest = 1 end
    for _, budget in ipairs(given.budgets) do
      local lasts = budget.lasts > 0 and budget.lasts or math.huge
      if budget.left + budget.held < cheapest and lasts > longest then limiting, longest = budget, lasts end
    end
    return refuse({subject = limiting.subject, kind = 'budget', limit = limiting.limit, period = limiting.period,
      left = math.max(0, limiting.left), held = limiting.held, in_flight = longest == 0,
      retry_ms = longest == 0 and 1000 or limiting.lasts, cacheable_ms = 0})
  end
  refused_model[2].shown = true
  return refuse(refused_model[1])
end

-- Everything fits: now, and only now, write.
local counted, fallbacks, first_model = {}, {}, given.candidates[admitted[1]].model
for i, rate in ipairs(given.rates) do
  if rate.model == '' or i == first_model then
    rate.shown = true
    local at = key('rate', rate.subject)
    redis.call('HSET', at, 'window', window, 'requests', rate.used + 1, 'tokens', rate.taken + given.tokens,
      'settled', rate.settled)
    redis.call('PEXPIRE', at, reset + given.window_ms)
    counted[#counted + 1] = rate.subject
    if rate.parallel > 0 and given.under_way then
      local live = key('live', rate.subject)
      redis.call('ZADD', live, now + given.lasts_ms, given.request)
      redis.call('PEXPIRE', live, given.lasts_ms + 1000)
    end
  else
    -- A fallback counts when it has happened.
    fallbacks[#fallbacks + 1] = rate.subject
  end
end

local spends, holders = {}, {}
for _, budget in ipairs(given.budgets) do
  spends[#spends + 1] = budget.spent
  local held = key('held', budget.subject)
  holders[#holders + 1] = held
  if amount > 0 then redis.call('INCRBY', held, whole(amount)) end
end

local after = remaining_at(1, given.tokens)
local answer = cjson.encode({
  admitted = admitted, amount = whole(amount), now = now, reset_ms = reset,
  requests = after.requests, tokens = after.tokens, warnings = #warnings > 0 and warnings or nil,
})
-- What is over already holds nothing.
if not given.under_way then return answer end
redis.call('HSET', reservation, 'answer', answer, 'amount', whole(amount), 'window', window, 'tokens', given.tokens,
  'rates', table.concat(counted, '\n'), 'fallbacks', table.concat(fallbacks, '\n'),
  'rates_until', whole(now + reset + given.window_ms), 'spends', table.concat(spends, '\n'),
  'holders', table.concat(holders, '\n'), 'open', 1, 'pending', 0)
if #holders > 0 then
  -- Only what the ledger has seen may end a reservation of money; it looks through this set.
  redis.call('ZADD', RESERVATIONS, now + given.lasts_ms + given.grace_ms, given.request)
  redis.call('EXPIRE', reservation, KEEP)
else
  redis.call('PEXPIRE', reservation, given.lasts_ms + given.grace_ms)
end
return answer
