-- Audio that is kept, and the right to pay for more. KEYS: the prefix; ARGV: which step, and what it takes.
--
--   audio:<key>   string  the entry, gone by itself when it is too old for anybody
--   audio:born    zset    entry -> when it was put           instants are microseconds of this server's clock
--   audio:heard   zset    entry -> when it was last wanted
--   audio:facts   hash    entry -> "<bytes> <voice>"
--   audio:bytes   number  the sum of them
--   claim:<key>   hash    token: of the one who pays; awaited: somebody else waits
--   freed         channel the keys of claims that ended and were awaited

local prefix, step = KEYS[1], ARGV[1]
local born, heard = prefix .. ':audio:born', prefix .. ':audio:heard'
local facts, total = prefix .. ':audio:facts', prefix .. ':audio:bytes'
local BESIDE = 512 -- bytes an entry takes beside what is in it

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function drop(key)
  local fact = redis.call('HGET', facts, key)
  if not fact then
    return 0
  end
  redis.call('UNLINK', prefix .. ':audio:' .. key)
  redis.call('HDEL', facts, key)
  redis.call('ZREM', born, key)
  redis.call('ZREM', heard, key)
  redis.call('DECRBY', total, string.match(fact, '^%d+'))
  return 1
end

local function sweep(oldest)
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', born, '-inf', now - oldest)) do
    drop(key)
  end
end

local function make_room(bytes)
  while tonumber(redis.call('GET', total) or 0) > bytes do
    local first = redis.call('ZRANGE', heard, 0, 0)[1]
    if not first then
      redis.call('DEL', total)
    else
      drop(first)
    end
  end
end

local function free(key, token)
  local claim = prefix .. ':claim:' .. key
  if redis.call('HGET', claim, 'token') == token then
    if redis.call('HGET', claim, 'awaited') then
      redis.call('PUBLISH', prefix .. ':freed', key)
    end
    redis.call('DEL', claim)
  end
end

local steps = {}

-- the entry and its age, or nothing
function steps.get(key)
  local entry, since = redis.call('GET', prefix .. ':audio:' .. key), redis.call('ZSCORE', born, key)
  if not (entry and since) then
    drop(key)
    return false
  end
  redis.call('ZADD', heard, 'XX', now, key)
  return {entry, now - since}
end

-- how many entries, how many bytes
function steps.stats(oldest)
  sweep(oldest)
  return {redis.call('HLEN', facts), tonumber(redis.call('GET', total) or 0)}
end

-- ends the claim too, if it is the caller's; answers as stats
function steps.put(key, entry, voice, most, oldest, token)
  local bytes = #entry + BESIDE
  drop(key)
  sweep(oldest)
  if bytes <= tonumber(most) then
    make_room(most - bytes)
    redis.call('SET', prefix .. ':audio:' .. key, entry, 'PX', math.ceil(oldest / 1000))
    redis.call('HSET', facts, key, bytes .. ' ' .. voice)
    redis.call('ZADD', born, now, key)
    redis.call('ZADD', heard, now, key)
    redis.call('INCRBY', total, bytes)
  end
  free(key, token)
  return steps.stats(oldest)
end

-- what is younger is taken; else the right is granted, or how long its owner has it without a word. For who has waited
-- what was put meanwhile is young enough, for who looks before he pays anything is
function steps.claim(key, token, hold, younger)
  local claim = prefix .. ':claim:' .. key
  local found = steps.get(key)
  if found and found[2] < tonumber(younger) then
    return {'found', found[1], found[2]}
  end
  if redis.call('HSETNX', claim, 'token', token) == 1 then
    redis.call('PEXPIRE', claim, hold)
    return {'yours', found and found[1], found and found[2]}
  end
  redis.call('HSET', claim, 'awaited', 1)
  return {'wait', redis.call('PTTL', claim)}
end

-- pairs of key and token
function steps.renew(hold, ...)
  local pairs_ = {...}
  for at = 1, #pairs_, 2 do
    local claim = prefix .. ':claim:' .. pairs_[at]
    if redis.call('HGET', claim, 'token') == pairs_[at + 1] then
      redis.call('PEXPIRE', claim, hold)
    end
  end
end

steps.free = free

-- one voice, or all where none is named: how many there were
function steps.purge(voice)
  local gone, rows = 0, redis.call('HGETALL', facts)
  for at = 1, #rows, 2 do
    if voice == '' or voice == string.match(rows[at + 1], ' (.*)$') then
      gone = gone + drop(rows[at])
    end
  end
  return gone
end

return steps[step](unpack(ARGV, 2))
