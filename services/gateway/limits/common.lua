-- What the scripts over limits and budgets share. scripts.py puts this text before each of them.
-- KEYS[1]: the partition's reservations. The names of its other keys differ in the end, as services.chassis.redis_keys
-- has them.

local RESERVATIONS = KEYS[1]
local PARTITION = string.sub(RESERVATIONS, 1, -1 - #'reservations')

local function key(kind, name) return PARTITION .. kind .. ':' .. name end

-- A number as the text of an integer; tostring would round it to 14 digits.
local function whole(number) return string.format('%.0f', number) end

local function lines(text)
  local found = {}
  for line in string.gmatch(text or '', '[^\n]+') do found[#found + 1] = line end
  return found
end

-- Milliseconds since 1970 by the clock of this server.
local function now_ms()
  local clock = redis.call('TIME')
  return tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
end

-- Give the parallel slots of a request back; `rates` are the subjects it counts for, one a line.
local function release_slots(request, rates)
  for _, subject in ipairs(lines(rates)) do redis.call('ZREM', key('live', subject), request) end
end

-- Give back all that a reservation holds: `amount` for each of the `holders`, one key a line, and its slots.
local function close(request, amount, holders, rates)
  redis.call('HSET', key('reservation', request), 'open', 0)
  redis.call('ZREM', RESERVATIONS, request)
  for _, held in ipairs(lines(holders)) do
    if redis.call('DECRBY', held, amount) == 0 then redis.call('DEL', held) end
  end
  release_slots(request, rates)
end
