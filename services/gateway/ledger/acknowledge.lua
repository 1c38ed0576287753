-- Acknowledge entries of a stream, trim what its group is done with, and answer how far behind the group is.
-- KEYS[1]: the stream. ARGV: the group, then the entries' ids; without ids it only answers.
-- Answers {entries that no consumer has read, or -1 when Redis does not know; entries read and not acknowledged;
-- milliseconds by which the group is behind}.

local stream, group = KEYS[1], ARGV[1]
if #ARGV > 1 then redis.call('XACK', stream, unpack(ARGV)) end
local function milliseconds(id) return tonumber(string.match(id, '^%d+')) end

local delivered, lag
for _, one in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local facts = {}
  for i = 1, #one, 2 do facts[one[i]] = one[i + 1] end
  if facts['name'] == group then delivered, lag = facts['last-delivered-id'], facts['lag'] end
end
local generated
local facts = redis.call('XINFO', 'STREAM', stream)
for i = 1, #facts, 2 do
  if facts[i] == 'last-generated-id' then generated = facts[i + 1] end
end
local pending = redis.call('XPENDING', stream, group)
local safe = pending[1] > 0 and pending[2] or delivered
redis.call('XTRIM', stream, 'MINID', '~', safe)

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local behind = 0
if pending[1] > 0 or delivered ~= generated then behind = math.max(1, now - milliseconds(safe)) end
return {lag or -1, pending[1], behind}
