-- Find an answer, or who is making it.
-- ARGV: the answer's digest; the token of the request that will make it if nobody does, or '' for one that will not; for
-- how many milliseconds nobody else makes it then.
-- Answers {'answer', its text, now} or {'lead'} or {'wait', the token of who makes it} or {'nothing'}.

local digest, token, lease_ms = ARGV[1], ARGV[2], ARGV[3]
local answer = redis.call('GET', ANSWER .. digest)
if answer then return {'answer', answer, now_ms()} end

local flight = FLIGHT .. digest
if token ~= '' and redis.call('SET', flight, token, 'NX', 'PX', lease_ms) then return {'lead'} end
local leader = redis.call('GET', flight)
if not leader then return {'nothing'} end
-- The same request once more, because the first answer came too late.
if leader == token then return {'lead'} end
return {'wait', leader}
