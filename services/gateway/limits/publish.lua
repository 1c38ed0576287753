-- Publish what the ledger has written: its new sums replace what was pending. The same twice changes nothing.
-- ARGV[1]: JSON: sums ([[subject:period, nano-USD, version], ...]), attempts ([[request, number, last], ...]).
-- Answers the number of attempts.

local given = cjson.decode(ARGV[1])

for _, sum in ipairs(given.sums) do
  local spent = key('spent', sum[1])
  local known = redis.call('EXISTS', spent) == 1
  local version = redis.call('HGET', spent, 'version')
  if not version or tonumber(version) < sum[3] then
    redis.call('HSET', spent, 'ledger', whole(sum[2]), 'version', whole(sum[3]))
    -- No request has needed it here: it stays only until no gateway can hold an older sum it read from PostgreSQL.
    if not known then redis.call('EXPIRE', spent, 60) end
  end
end

for _, attempt in ipairs(given.attempts) do
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
      close(attempt[1], at[1], at[3], at[4])
    end
    local after = redis.call('HMGET', reservation, 'open', 'pending')
    if after[1] == '0' and after[2] == '0' then redis.call('EXPIRE', reservation, 900) end
  end
end
return #given.attempts
