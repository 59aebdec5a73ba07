-- What processes know of upstream's health. KEYS: the prefix; ARGV: which step, and what it takes.
--
--   health          hash     breaker or latch -> "<why> <opens for s> <until>", while it is not closed
--   probe:<name>    string   the process that may ask upstream now, whether it is well again
--   health          channel  "<process> <name> <why> <opens for s> <left ms>", and why is "well" where it closed

local prefix, step = KEYS[1], ARGV[1]
local health = prefix .. ':health'
local KNOWN_MS = 3600000 -- after an hour without a word whoever starts anew finds out for himself

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function left(record)
  return math.max(0, tonumber(string.match(record, '%S+$')) - now)
end

local steps = {}

-- all that is not closed: triples of name, "<why> <opens for s>" and the milliseconds left
function steps.state()
  local rows, answer = redis.call('HGETALL', health), {}
  for at = 1, #rows, 2 do
    answer[#answer + 1] = rows[at]
    answer[#answer + 1] = string.match(rows[at + 1], '^(%S+ %S+)')
    answer[#answer + 1] = left(rows[at + 1])
  end
  return answer
end

-- the right to probe all of these: -1 if it is granted, else the milliseconds after which to ask again
function steps.probe(process, hold, taken, ...)
  for _, name in ipairs({...}) do
    local record, owner = redis.call('HGET', health, name), redis.call('GET', prefix .. ':probe:' .. name)
    if owner and owner ~= process then
      return tonumber(taken)
    elseif record and left(record) > 0 then
      return left(record)
    end
  end
  steps.renew(process, hold, ...)
  return -1
end

function steps.renew(process, hold, ...)
  for _, name in ipairs({...}) do
    redis.call('SET', prefix .. ':probe:' .. name, process, 'PX', hold)
  end
end

function steps.free(process, name)
  if redis.call('GET', prefix .. ':probe:' .. name) == process then
    redis.call('DEL', prefix .. ':probe:' .. name)
  end
end

-- it opened, latched or closed: for all, and whoever probed has his answer
function steps.tell(process, name, why, opens_s, left_ms)
  steps.free(process, name)
  if why == 'well' then
    redis.call('HDEL', health, name)
  else
    redis.call('HSET', health, name, why .. ' ' .. opens_s .. ' ' .. now + left_ms)
    redis.call('PEXPIRE', health, KNOWN_MS)
  end
  redis.call('PUBLISH', health, table.concat({process, name, why, opens_s, left_ms}, ' '))
end

return steps[step](unpack(ARGV, 2))
