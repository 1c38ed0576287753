-- What the scripts over the response cache share. scripts.py puts before it the names of the keys, from
-- services.chassis.redis_keys. A member is what an answer is listed as: its tenant, a slash, its digest. ALL is the scope
-- beside the tenants, whose names are digests.

local ALL = 'all'

-- Milliseconds since 1970 by the clock of this server.
local function now_ms()
  local clock = redis.call('TIME')
  return tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
end

-- A number as the text of an integer; tostring would round it to 14 digits.
local function whole(number) return string.format('%.0f', number) end

local function count_bytes(scope, change)
  if redis.call('HINCRBY', HELD, scope, whole(change)) == 0 then redis.call('HDEL', HELD, scope) end
end

-- What Redis itself needs for a question beside its text: fields of three hashes, and what finds it.
local QUESTION_OVERHEAD = 640

-- Take an answer's question from those that others are compared with; answers the bytes that it took.
local function unlist(member, digest)
  local partition = redis.call('HGET', LISTED, member)
  if not partition then return 0 end
  local size = redis.call('HSTRLEN', TEXTS .. partition, digest) + QUESTION_OVERHEAD
  redis.call('HDEL', LISTED, member)
  redis.call('HDEL', QUESTIONS .. partition, digest)
  redis.call('HDEL', TEXTS .. partition, digest)
  return size
end

-- Forget an answer, whether it is there, has expired or never was.
local function forget(member)
  local size = tonumber(redis.call('HGET', SIZES, member) or '0')
  if size == 0 then return end
  local tenant, digest = string.match(member, '^(%w+)/(%w+)$')
  redis.call('DEL', ANSWER .. digest)
  unlist(member, digest)
  redis.call('HDEL', SIZES, member)
  redis.call('ZREM', EXPIRING, member)
  redis.call('ZREM', TENANT .. tenant, member)
  count_bytes(tenant, -size)
  count_bytes(ALL, -size)
end
