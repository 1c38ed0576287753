-- Tell Redis what the ledger has booked: new sums replace what was pending. The same twice changes nothing.
-- ARGV[1]: JSON: prefix, sums ([[subject:period, nano-USD, version], ...]), attempts ([[request, number, last], ...]).

local ask = cjson.decode(ARGV[1])
local function key(kind, name) return ask.prefix .. ':' .. kind .. ':' .. name end
local function lines(text)
  local found = {}
  for line in string.gmatch(text or '', '[^\n]+') do found[#found + 1] = line end
  return found
end

for _, sum in ipairs(ask.sums) do
  local spent = key('spent', sum[1])
  local known = redis.call('EXISTS', spent) == 1
  local version = redis.call('HGET', spent, 'version')
  if not version or tonumber(version) < sum[3] then
    redis.call('HSET', spent, 'ledger', string.format('%.0f', sum[2]), 'version', string.format('%.0f', sum[3]))
    -- Nobody asked for it here: it stays only until no gateway can hold an older sum it read from PostgreSQL.
    if not known then redis.call('EXPIRE', spent, 60) end
  end
end

for _, attempt in ipairs(ask.attempts) do
  local reservation, mark = key('reservation', attempt[1]), 'attempt:' .. attempt[2]
  local at = redis.call('HMGET', reservation, 'amount', 'spends', 'holders', 'rates', 'open', mark)
  if at[1] then
    if at[6] and at[6] ~= 'done' then
      for _, spent in ipairs(lines(at[2])) do
        if redis.call('EXISTS', spent) == 1 then redis.call('HINCRBY', spent, 'pending', '-' .. at[6]) end
      end
      redis.call('HINCRBY', reservation, 'pending', -1)
    end
    redis.call('HSET', reservation, mark, 'done')
    -- After a whole answer no further attempt is made: what is still reserved is free again, should the gateway be gone.
    if attempt[3] and at[5] == '1' then
      redis.call('HSET', reservation, 'open', 0)
      redis.call('ZREM', ask.prefix .. ':reservations', attempt[1])
      for _, held in ipairs(lines(at[3])) do
        if redis.call('DECRBY', held, at[1]) == 0 then redis.call('DEL', held) end
      end
      for _, subject in ipairs(lines(at[4])) do redis.call('ZREM', key('live', subject), attempt[1]) end
    end
    local now = redis.call('HMGET', reservation, 'open', 'pending')
    if now[1] == '0' and now[2] == '0' then redis.call('EXPIRE', reservation, 900) end
  end
end
return #ask.attempts
