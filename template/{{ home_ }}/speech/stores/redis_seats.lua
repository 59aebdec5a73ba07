-- How many requests a caller has under way. KEYS: the prefix; ARGV: which step, and what it takes.
--
--   seats:<caller>   zset  seat -> until when it is taken, in milliseconds of this server's clock

local prefix, step = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local steps = {}

function steps.renew(hold, ...)
  local seats = {...} -- pairs of caller and seat
  for at = 1, #seats, 2 do
    local key = prefix .. ':seats:' .. seats[at]
    redis.call('ZADD', key, now + hold, seats[at + 1])
    redis.call('PEXPIRE', key, hold)
  end
end

-- whether there was one
function steps.take(hold, caller, seat, most)
  local key = prefix .. ':seats:' .. caller
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  if redis.call('ZCARD', key) >= tonumber(most) then
    return 0
  end
  steps.renew(hold, caller, seat)
  return 1
end

function steps.free(caller, seat)
  redis.call('ZREM', prefix .. ':seats:' .. caller, seat)
end

return steps[step](unpack(ARGV, 2))
