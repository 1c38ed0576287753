-- Periods of budgets, named as services.gateway.config.budgets names them.

-- Howard Hinnant's civil_from_days: year, month and day of a day since 1970.
local function civil(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  return yoe + era * 400 + (month <= 2 and 1 or 0), month, day
end

-- The name of the period that a moment lies in, and the milliseconds until the next period begins; 0 for never.
local function period(kind, now)
  local today = math.floor(now / 86400000)
  if kind == 'total' then return 'total', 0 end
  if kind == 'month' then
    local year, month = civil(today)
    local last = today
    repeat last = last + 1; local _, other = civil(last) until other ~= month
    return string.format('month:%04d-%02d', year, month), last * 86400000 - now
  end
  local first, length = today, 1
  if kind == 'week' then
    first, length = today - (today + 3) % 7, 7
  end
  local year, month, day = civil(first)
  return string.format('%s:%04d-%02d-%02d', kind, year, month, day), (first + length) * 86400000 - now
end
