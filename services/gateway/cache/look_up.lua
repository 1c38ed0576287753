-- Find an answer, or who is making it. A request that has found one is counted in the same step.
-- ARGV: the answer's digest; the token of the request that will make it if nobody does, or '' for one that will not; for
-- how many milliseconds nobody else makes it then; the reservations that admit.lua counts it with, and its argument, or ''
-- for a request that is counted by itself.
-- Answers {'answer', its text, now, what admit.lua says or ''} or {'lead'} or {'wait', the token of who makes it} or {'nothing'}.

local digest, token, lease_ms = ARGV[1], ARGV[2], ARGV[3]
local answer = redis.call('GET', ANSWER .. digest)
if answer then
  -- A server that takes no writes finds answers all the same; then limits are counted without it.
  local done, counted = false, ''
  if ARGV[4] ~= '' then done, counted = pcall(count, {ARGV[4]}, {ARGV[5]}) end
  return {'answer', answer, now_ms(), done and counted or ''}
end

local flight = FLIGHT .. digest
if token ~= '' and redis.call('SET', flight, token, 'NX', 'PX', lease_ms) then return {'lead'} end
local leader = redis.call('GET', flight)
if not leader then return {'nothing'} end
-- The same request once more, because the first answer came too late.
if leader == token then return {'lead'} end
return {'wait', leader}
