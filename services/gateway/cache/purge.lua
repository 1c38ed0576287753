-- Forget answers of a tenant or of all, and those that are being made now.
-- ARGV: the tenant, or all; the most that one call forgets; for how many milliseconds requests may be under way.
-- Answers how many it forgot.

local scope, most, lasts_ms = ARGV[1], tonumber(ARGV[2]), ARGV[3]
redis.call('SET', PURGED .. scope, whole(now_ms()), 'PX', lasts_ms)
local members = redis.call('ZRANGE', scope == ALL and EXPIRING or TENANT .. scope, 0, most - 1)
for _, member in ipairs(members) do forget(member) end
return #members
