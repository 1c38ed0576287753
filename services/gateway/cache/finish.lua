-- End the making of an answer, and keep it within the bounds.
-- ARGV: the answer's digest; the token of the request that made it, or '' when nobody waits for it; the answer's tenant;
-- its text, or '' when there is none to keep; for how many milliseconds it is kept; when its request was admitted; how many
-- bytes its tenant's answers may take, and all; the partition that its question is listed in, what that is about, and its text, or ''
-- where it is compared with none; how many questions a partition has.
-- Answers {the bytes of all answers, how many made room}.

local digest, token, tenant, text = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ttl_ms, admitted_ms, tenant_bound, bound, partition, about, question, most = unpack(ARGV, 5)
-- What Redis itself needs for one answer beside its text: two members of sorted sets, a field of a hash, a key.
local OVERHEAD = 768
-- Expired answers that one call clears away.
local SWEPT = 100

local flight = FLIGHT .. digest
if token ~= '' and redis.call('GET', flight) == token then redis.call('DEL', flight) end

local function held(scope) return tonumber(redis.call('HGET', HELD, scope) or '0') end

if text == '' then return {held(ALL), 0} end
for _, scope in ipairs({tenant, ALL}) do
  local purged = redis.call('GET', PURGED .. scope)
  if purged and tonumber(purged) >= tonumber(admitted_ms) then return {held(ALL), 0} end
end

local member, size, now = tenant .. '/' .. digest, #text + OVERHEAD, now_ms()
if question ~= '' then size = size + #question + QUESTION_OVERHEAD end
forget(member)
for _, expired in ipairs(redis.call('ZRANGE', EXPIRING, '-inf', whole(now), 'BYSCORE', 'LIMIT', 0, SWEPT)) do
  forget(expired)
end

-- What expires soonest makes room: a hit then writes nothing.
local evicted = 0
local function make_room(scope, members, most)
  while held(scope) + size > tonumber(most) do
    local soonest = redis.call('ZRANGE', members, 0, 0)[1]
    if not soonest then return end
    forget(soonest)
    evicted = evicted + 1
  end
end
make_room(tenant, TENANT .. tenant, tenant_bound)
make_room(ALL, EXPIRING, bound)

local expires = whole(now + ttl_ms)
redis.call('SET', ANSWER .. digest, text, 'PX', ttl_ms)
redis.call('HSET', SIZES, member, size)
redis.call('ZADD', EXPIRING, expires, member)
redis.call('ZADD', TENANT .. tenant, expires, member)
count_bytes(tenant, size)
count_bytes(ALL, size)

if question ~= '' then
  local questions, texts = QUESTIONS .. partition, TEXTS .. partition
  if redis.call('HLEN', questions) >= tonumber(most) then
    local listed, first, soonest = redis.call('HGETALL', questions), nil, nil
    for at = 1, #listed, 2 do
      local ends = tonumber(string.match(listed[at + 1], '^%d+'))
      if not soonest or ends < soonest then first, soonest = listed[at], ends end
    end
    -- Its answer stays for equal requests.
    local dropped = tenant .. '/' .. first
    local freed = unlist(dropped, first)
    redis.call('HDEL', questions, first)
    if redis.call('HGET', SIZES, dropped) then
      redis.call('HINCRBY', SIZES, dropped, whole(-freed))
      count_bytes(tenant, -freed)
      count_bytes(ALL, -freed)
    end
  end
  redis.call('HSET', questions, digest, expires .. ':' .. about)
  redis.call('HSET', texts, digest, question)
  redis.call('HSET', LISTED, member, partition)
  for _, key in ipairs({questions, texts}) do
    redis.call('PEXPIRE', key, ttl_ms, 'NX')
    redis.call('PEXPIRE', key, ttl_ms, 'GT')
  end
end
return {held(ALL), evicted}
