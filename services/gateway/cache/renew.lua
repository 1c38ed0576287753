-- Go on keeping others from making an answer. ARGV: its digest; the token of the request that makes it; for how many
-- milliseconds. Answers 1, or 0 when another request makes it by now.

local flight = FLIGHT .. ARGV[1]
if redis.call('GET', flight) ~= ARGV[2] then return 0 end
redis.call('PEXPIRE', flight, ARGV[3])
return 1
