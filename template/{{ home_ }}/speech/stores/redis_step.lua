-- One step of one process: it says what has changed with it, and hears what has become of it. It is the only script, so
-- each rule holds at every instant. The rules are those of limiter.py and allowance.py, for the processes of all hosts.
--
-- KEYS   1 root of all names. They share its hash tag and never expire:
--   root                 hash   clock learn_until doubt (server's microseconds); by process seq: claim: mail: unread:
--   root:processes       zset   process -> when it last spoke
--   root:pools           set
--   root:<pool>          hash   what is known of the pool, see FIELDS; by process share:
--   root:<pool>:line     zset   waiter -> rank: when it came, plus what its class gives way
--   root:<pool>:urgent   zset   those of the line that are interactive
--   root:<pool>:heavy    zset   those of the line that weigh more than 1
--   root:<pool>:held     hash   lease -> epoch, instant and weight of its grant, 1 if interactive
--   root:wake:<process>  channel, its inbox. Nobody listens there once the process is dead
-- ARGV   1 process   2 number of its step   3 message (JSON; times are microseconds)
--   {claim?, first?, born (ms), beat?, bye?, pools = {<pool> = news}}
--   news:  heard {{maximum or 0, current or -1}}  refused {{lease, number or 0}}  release {{lease, took or 0}}
--          leave {waiter}  move {{waiter, difference in rank, 1 if interactive now}}
--          want {{waiter, class, has waited, has left, 1 if whole, guess}}
--   a claim is all there is of a process: its news have terms, limit, ceiling, share, held {{lease, runs for, weight,
--   1 if interactive}} and want
-- A waiter becomes a lease under the same name, <process>:<number>:<weight>, and no name is used twice.

local TTL, LEARN, QUIET, UNREAD = 4e6, 2e6, 1.5e6, 0.1e6
local GROWS, WINDOW, SETTLED, DOUBT = 10e6, 10e6, 3, 1e6
local GIVES_WAY = { [0] = 0, 60e6, 120e6 }
local MEMORY, SPREAD, GUESS = 32, 0.3, 1e6
local JOINED, LEARNING, UNKNOWN = 'joined', 'learning', 'unknown'

local root, me, seq, message = KEYS[1], ARGV[1], tonumber(ARGV[2]), cjson.decode(ARGV[3])
local call = redis.call
local processes = root .. ':processes'
local function channel(process) return root .. ':wake:' .. process end
local function owner(id) return id:match('^[^:]+') end
local function weight_of(id) return tonumber(id:match('[^:]+$')) end
local function whole(number) return string.format('%.0f', number) end
local function listens(process) return call('PUBSUB', 'NUMSUB', channel(process))[2] > 0 end

-- ------------------------------------------------------------------------------------------ who is there, and since when

local time = call('TIME')
local now = time[1] * 1e6 + time[2]
local got = call('HMGET', root, 'clock', 'learn_until', 'seq:' .. me, 'unread:' .. me, 'mail:' .. me, 'doubt')
local clock, learn_until, stored = tonumber(got[1]), tonumber(got[2]) or 0, tonumber(got[3])
local doubt = tonumber(got[6]) or 0
if clock and now <= clock then now = clock + 1 end -- time never runs backwards here

local function nobody_else() -- no inbox is open but mine, and there was time to open them
  for _, name in ipairs(call('PUBSUB', 'CHANNELS', root .. ':wake:*')) do
    if name ~= channel(me) then return false end
  end
  return tonumber(call('INFO', 'server'):match('uptime_in_seconds:(%d+)')) >= SETTLED
end

local others = call('ZCARD', processes) - (call('ZSCORE', processes, me) and 1 or 0)
local emptied, silence = not clock, clock and now - clock > LEARN and others > 0
if (emptied or silence) and not (message.first and nobody_else()) then -- others may hold what nobody here knows of
  learn_until = now + LEARN
  for _, process in ipairs(call('ZRANGE', processes, 0, -1)) do call('ZADD', processes, now, process) end
end
local learning = now < learn_until

local function forget(process) -- all that it holds and wants, and the process itself
  local function its(id) return owner(id) == process end
  for _, name in ipairs(call('SMEMBERS', root .. ':pools')) do
    local key = root .. ':' .. name
    for _, id in ipairs(call('HKEYS', key .. ':held')) do
      if its(id) then call('HDEL', key .. ':held', id) end
    end
    for _, id in ipairs(call('ZRANGE', key .. ':line', 0, -1)) do
      if its(id) then
        for _, line in ipairs({ ':line', ':urgent', ':heavy' }) do call('ZREM', key .. line, id) end
      end
    end
    call('HDEL', key, 'share:' .. process)
  end
  call('ZREM', processes, process)
  call('HDEL', root, 'seq:' .. process, 'claim:' .. process, 'mail:' .. process, 'unread:' .. process)
end

local alive = {}
if message.bye then
  forget(me)
elseif message.claim and seq > (stored or 0) then -- else it comes late, and a newer one was heard
  forget(me)
  if stored then doubt = now end -- it did without us for a while, and so may others have done
  call('HSET', root, 'claim:' .. me, seq, 'doubt', doubt)
elseif stored ~= seq - 1 then
  return cjson.encode({ status = UNKNOWN }) -- given up, or a step was lost: it has to say everything again
end
if message.bye then
  call('HSET', root, 'clock', now)
else
  call('ZADD', processes, now, me)
  call('HSET', root, 'clock', now, 'learn_until', learn_until, 'seq:' .. me, seq)
  if got[4] then call('HDEL', root, 'unread:' .. me) end
end
local unheard = now - doubt < DOUBT and call('ZRANGEBYSCORE', processes, '-inf', '(' .. whole(doubt)) or {}
if message.beat or message.bye then
  for _, process in ipairs(call('ZRANGE', processes, 0, -1)) do
    local silent = now - call('ZSCORE', processes, process)
    local dead = silent > TTL or (silent > QUIET and not listens(process)) -- the kernel closed its socket
    if dead and not learning then forget(process) else alive[#alive + 1] = process end
  end
  table.sort(alive)
end

-- ------------------------------------------------------------------------------------------------------------- a pool

local FIELDS = { 'limit', 'ceiling', 'others', 'cuts', 'epoch', 'moved', 'service', 'measured', -- as in allowance.py
  'plan', 'fixed', 'reserved', 'size', 'born', -- the terms, and when the process that set them came
  'heavy', -- 1 once somebody was who weighs more than 1
  'peak', 'peak_was', 'peak_from' } -- the most in flight in this WINDOW and in the one before

local function read(name)
  local pool = { name = name, key = root .. ':' .. name, held = {}, busy = 0, urgent = 0, aside = 0 }
  pool.waiting = call('ZCARD', pool.key .. ':line')
  local values = call('HMGET', pool.key, 'said', 'foreign', unpack(FIELDS))
  pool.stored = values
  for i, field in ipairs(FIELDS) do
    values[i + 2] = tonumber(values[i + 2]) or 0
    pool[field] = values[i + 2]
  end
  for i, field in ipairs({ 'said', 'foreign' }) do
    pool[field] = {}
    for number in (values[i] or ''):gmatch('%d+') do table.insert(pool[field], tonumber(number)) end
  end
  local held, by = call('HGETALL', pool.key .. ':held'), {}
  for i = 1, #held, 2 do
    local epoch, since, weight, urgent = held[i + 1]:match('(%d+) (%d+) (%d+) (%d)')
    local lease = { epoch = tonumber(epoch), since = tonumber(since), weight = tonumber(weight), urgent = urgent == '1' }
    pool.held[held[i]] = lease
    pool.busy = pool.busy + lease.weight
    by[owner(held[i])] = (by[owner(held[i])] or 0) + lease.weight
    pool.urgent = pool.urgent + (lease.urgent and lease.weight or 0)
  end
  for _, process in ipairs(unheard) do -- until it speaks: alone it may run its share, whatever it told us it gave back
    local share = tonumber(call('HGET', pool.key, 'share:' .. process)) or 0
    pool.aside = pool.aside + math.max(0, share - (by[process] or 0))
  end
  if now - pool.peak_from > WINDOW then
    pool.peak_was = now - pool.peak_from > 2 * WINDOW and pool.busy or pool.peak
    pool.peak, pool.peak_from = pool.busy, now
  end
  return pool
end

local function save(pool) -- what has changed
  local changed = {}
  local function put(field, value, stored)
    if value ~= stored then changed[#changed + 1], changed[#changed + 2] = field, value end
  end
  put('said', table.concat(pool.said, ' '), pool.stored[1])
  put('foreign', table.concat(pool.foreign, ' '), pool.stored[2])
  for i, field in ipairs(FIELDS) do put(field, pool[field], pool.stored[i + 2]) end
  if #changed > 0 then call('HSET', pool.key, unpack(changed)) end
end

local function hold(pool, id, since, weight, urgent)
  pool.held[id] = { epoch = pool.epoch, since = since, weight = weight, urgent = urgent }
  pool.busy, pool.ends = pool.busy + weight, nil
  pool.urgent = pool.urgent + (urgent and weight or 0)
  pool.peak = math.max(pool.peak, pool.busy)
  call('HSET', pool.key .. ':held', id, table.concat({ pool.epoch, whole(since), weight, urgent and 1 or 0 }, ' '))
end

local function let_go(pool, id)
  local lease = pool.held[id]
  if not lease then return end
  pool.held[id], pool.ends = nil, nil
  pool.busy, pool.urgent = pool.busy - lease.weight, pool.urgent - (lease.urgent and lease.weight or 0)
  call('HDEL', pool.key .. ':held', id)
end

-- ------------------------------------------------------------------------------------- how many: the rules of allowance.py

local function top(pool) return math.max(1, pool.ceiling - pool.others) end

local function move(pool, limit)
  if limit == pool.limit then return end
  pool.epoch = pool.epoch + (limit < pool.limit and 1 or 0)
  pool.limit, pool.moved = limit, now
end

local function shift(list, value) -- the oldest falls out; the least of what remains
  table.remove(list, 1)
  table.insert(list, value)
  return math.min(unpack(list))
end

local function believe(pool, ceiling)
  local before = pool.ceiling
  pool.ceiling = shift(pool.said, ceiling)
  move(pool, pool.ceiling > before and top(pool) or math.min(pool.limit, top(pool)))
end

local function heard(pool, maximum, current)
  if pool.fixed == 1 then return end
  if maximum >= 1 and maximum <= 4 * pool.plan then believe(pool, maximum) end
  if current >= 0 and not learning then -- what was ours may have ended since: so the most of a while is taken for ours
    local before = pool.others
    pool.others = shift(pool.foreign, math.max(0, current - math.max(pool.peak, pool.peak_was)))
    move(pool, math.min(pool.limit + math.max(0, before - pool.others), top(pool)))
  end
end

local function refused(pool, id, said)
  if not pool.held[id] or pool.held[id].epoch < pool.epoch then return end -- of before the last fall: tells nothing new
  pool.cuts = pool.cuts + 1
  if said < 1 or said >= pool.limit then move(pool, math.max(1, math.floor(0.8 * pool.limit)))
  elseif pool.fixed == 1 then move(pool, said)
  else believe(pool, said) end
end

local function grow(pool)
  local due = pool.limit < top(pool) and now - pool.moved >= GROWS
  if due then move(pool, pool.limit + 1) end
  return due
end

local function agree(pool, news) -- on the terms of the process that came last: so two versions never quarrel
  local terms, known = news.terms, pool.limit > 0
  local born = message.born > 0 and message.born or math.floor(now / 1e3)
  local forgotten = message.first and #alive == 1 -- nobody was there who could remember
  if known and born < pool.born and not forgotten then return end
  pool.born, pool.reserved, pool.size = born, terms.reserved, terms.size
  if known and terms.plan == pool.plan and terms.fixed == pool.fixed and not forgotten then return end
  local limit, ceiling = terms.plan, terms.plan
  if not known then limit, ceiling = news.limit, news.ceiling end -- an emptied Redis: what this process was last told
  pool.plan, pool.fixed, pool.limit, pool.ceiling = terms.plan, terms.fixed, limit, ceiling
  pool.said, pool.foreign = { ceiling, ceiling, ceiling }, { 0, 0, 0, 0, 0 }
  pool.others, pool.cuts, pool.moved, pool.epoch = 0, 0, 0, pool.epoch + 1
end

-- ---------------------------------------------------------------------------------------- who: the rules of limiter.py

local function kept(pool)
  return math.min(math.floor(pool.reserved >= 1 and pool.reserved or pool.reserved * pool.limit), pool.limit - 1)
end

local function slots(pool, urgent) return pool.limit - (urgent and 0 or kept(pool)) end
local function is_urgent(pool, id) return call('ZSCORE', pool.key .. ':urgent', id) and true or false end
local function weigh(pool, id, urgent) return math.min(weight_of(id), slots(pool, urgent)) end

local function over(pool, id, urgent) -- whether it would take a slot that is kept from it and its like
  local others = pool.busy - pool.urgent + pool.aside
  return slots(pool, urgent) < math.min(pool.limit, others + weigh(pool, id, urgent))
end

local function fits(pool, id, urgent)
  return pool.busy + pool.aside + weigh(pool, id, urgent) <= pool.limit and not over(pool, id, urgent)
end

local function enter(pool, id, rank, urgent)
  pool.waiting = pool.waiting + call('ZADD', pool.key .. ':line', rank, id)
  if urgent then call('ZADD', pool.key .. ':urgent', rank, id) end
  if weight_of(id) > 1 then
    call('ZADD', pool.key .. ':heavy', rank, id)
    pool.heavy = 1
  end
end

local function drop(pool, id)
  pool.waiting = pool.waiting - call('ZREM', pool.key .. ':line', id)
  call('ZREM', pool.key .. ':urgent', id)
  if weight_of(id) > 1 then call('ZREM', pool.key .. ':heavy', id) end
end

local hearing = { [me] = true }
local function hears(process) -- what lies unread says that it is asleep
  if hearing[process] == nil then
    local unread = tonumber(call('HGET', root, 'unread:' .. process)) or now
    hearing[process] = now - unread < UNREAD and listens(process)
  end
  return hearing[process]
end

local function first(pool, line) -- whoever can't hear keeps his place, and is passed
  for place = 0, pool.waiting - 1 do
    local id = call('ZRANGE', pool.key .. line, place, place)[1]
    if not id or hears(owner(id)) then return id end
  end
end

local answer = { status = learning and LEARNING or JOINED, pools = {}, given = {}, shed = {}, queued = {} }
local mail = {}
local function tell(kind, pool, id, ...)
  local process = owner(id)
  local letter = process == me and answer or mail[process] or { given = {}, shed = {} }
  if process ~= me then mail[process] = letter end
  table.insert(letter[kind], { pool.name, id, ... })
end

local function next_one(pool, head) -- nobody passes the head, but an interactive one while others hold all they may
  local urgent = is_urgent(pool, head)
  if fits(pool, head, urgent) then return head, urgent end
  local best = over(pool, head, urgent) and first(pool, ':urgent')
  if best and fits(pool, best, true) then return best, true end
end

local function advance(pool)
  local head = not learning and first(pool, ':line')
  while head do
    local id, urgent = next_one(pool, head)
    if id then
      local weight = weigh(pool, id, urgent)
      drop(pool, id)
      hold(pool, id, now, weight, urgent)
      tell('given', pool, id, weight)
      head = first(pool, ':line')
    elseif not grow(pool) then
      return
    end
  end
end

local function ends(pool, service) -- when each slot in use is free, if all calls take so long
  if pool.ends and pool.ends.service == service then return pool.ends end
  local list = { service = service, all = {}, urgent = {}, others = {} }
  for _, lease in pairs(pool.held) do
    for _, kind in ipairs({ list.all, lease.urgent and list.urgent or list.others }) do
      for _ = 1, lease.weight do kind[#kind + 1] = math.max(now, lease.since + service) end
    end
  end
  for _, kind in ipairs({ list.all, list.urgent, list.others }) do table.sort(kind) end
  pool.ends = list
  return list
end

local function ends_kept(pool, list) -- of slots that interactive ones may count on; a lowered limit: also of others
  local kind = { unpack(list.urgent) }
  for i = 1, #list.others - slots(pool, false) do kind[#kind + 1] = list.others[i] end
  table.sort(kind)
  return kind
end

local function ahead(pool, rank, n, line) -- the weight of all who stand before it, and of the heaviest
  if pool.waiting == 0 then return 0, 0 end
  local before = '(' .. whole(rank)
  local sum, most = call('ZCOUNT', pool.key .. line, '-inf', before), 1
  if pool.heavy == 0 then return sum, most end
  for _, id in ipairs(call('ZRANGEBYSCORE', pool.key .. ':heavy', '-inf', before)) do
    if line == ':line' or is_urgent(pool, id) then
      sum, most = sum + math.min(weight_of(id), n) - 1, math.max(most, weight_of(id))
    end
  end
  return sum, most
end

local function first_of_others(pool) -- the lines are in one order, so alike up to there
  for from = 0, pool.waiting - 1, 100 do
    local urgent = call('ZRANGE', pool.key .. ':urgent', from, from + 99)
    for i, id in ipairs(call('ZRANGE', pool.key .. ':line', from, from + 99)) do
      if id ~= urgent[i] then return id end
    end
  end
end

local function turn(weight, n, list, service, first) -- of the last of so much weight on n slots; of none before first
  local above, idle = math.max(0, #list - n), math.max(0, n - #list)
  local rounds, slot = math.floor((weight - 1) / n), (weight - 1) % n
  return math.max(first, slot < idle and now or list[above + slot - idle + 1]) + rounds * service
end

local function turn_in_pool(pool, rank, weight, service)
  local n = pool.limit
  return turn(ahead(pool, rank, n, ':line') + math.min(weight, n), n, ends(pool, service).all, service, now)
end

local function wait(pool, rank, weight, urgent, service) -- until its turn
  local at, n, list = turn_in_pool(pool, rank, weight, service), kept(pool), ends(pool, service)
  if n == 0 then return at - now end
  if urgent then -- maybe sooner, by the kept slots
    local sum, most = ahead(pool, rank, n, ':urgent')
    if math.max(most, weight) > n then return at - now end
    return math.min(at, turn(sum + weight, n, ends_kept(pool, list), service, now)) - now
  end
  n = slots(pool, false)
  local head = first_of_others(pool) -- maybe later, by the others: they begin with the first of them
  local head_rank = head and tonumber(call('ZSCORE', pool.key .. ':line', head)) or rank
  local first = head_rank < rank and turn_in_pool(pool, head_rank, weight_of(head), service) or at
  local sum = (ahead(pool, rank, n, ':line')) - (ahead(pool, rank, n, ':urgent'))
  return math.max(at, turn(sum + math.min(weight, n), n, list.others, service, first)) - now
end

local function judge(pool, want) -- those who came now and still wait: will it be in time?
  local id, service = want.id, pool.service > 0 and pool.service or want.guess
  if pool.held[id] then return end
  local wait_us = wait(pool, want.rank, weight_of(id), want.class == 0, service)
  local over = wait_us + want.whole * service - want.left
  if over > 0 then
    local margin = SPREAD * (service + wait_us / math.sqrt(math.max(1, pool.measured)))
    drop(pool, id)
    tell('shed', pool, id, 'deadline_unreachable', math.min(wait_us, over) + margin)
  else
    tell('queued', pool, id, wait_us)
  end
end

local function bound(pool) -- the worst places of too long a line are refused, until the head of it is let in
  for _ = 1, pool.waiting - pool.size do
    local worst = call('ZREVRANGE', pool.key .. ':line', 0, 0)[1]
    drop(pool, worst)
    local head = call('ZRANGE', pool.key .. ':line', 0, 0)[1] or worst
    local wait_us = wait(pool, 0, weight_of(head), is_urgent(pool, head), pool.service > 0 and pool.service or GUESS)
    tell('shed', pool, worst, 'queue_full', wait_us)
  end
end

local function share(pool, asked) -- what each may do without Redis: never more than the limit in all
  local mine, left, fields = 0, pool.limit, {}
  for i, process in ipairs(alive) do
    fields[i] = 'share:' .. process
    if process == me then mine = math.floor(pool.limit / #alive) + (i <= pool.limit % #alive and 1 or 0) end
  end
  if learning then
    mine = asked or tonumber(call('HGET', pool.key, 'share:' .. me)) or 0
  else
    for i, value in ipairs(call('HMGET', pool.key, unpack(fields))) do
      if alive[i] ~= me then left = left - (tonumber(value) or 0) end
    end
    mine = math.max(0, math.min(mine, left)) -- a newcomer has what others have given up
  end
  call('HSET', pool.key, 'share:' .. me, mine)
  return mine
end

local function claim(pool, news)
  call('SADD', root .. ':pools', pool.name)
  agree(pool, news)
  local weight = 0
  for _, held in ipairs(news.held) do
    hold(pool, held[1], now - held[2], held[3], held[4] == 1)
    weight = weight + held[3]
  end
  if learning and news.share > weight then -- until it is let in it may start up to its share: room is kept for that
    hold(pool, me .. ':spare:1', now, news.share - weight, false)
  end
end

local function by_rank(a, b) return a.rank < b.rank end

local function apply(pool, news)
  for _, said in ipairs(news.heard or {}) do heard(pool, said[1], said[2]) end
  for _, no in ipairs(news.refused or {}) do refused(pool, no[1], no[2]) end
  for _, done in ipairs(news.release or {}) do
    let_go(pool, done[1])
    if done[2] > 0 then
      pool.measured = math.min(pool.measured + 1, MEMORY)
      pool.service, pool.ends = pool.service + (done[2] - pool.service) / pool.measured, nil
    end
  end
  for _, id in ipairs(news.leave or {}) do drop(pool, id) end
  for _, moved in ipairs(news.move or {}) do
    local rank = tonumber(call('ZSCORE', pool.key .. ':line', moved[1]))
    if rank then
      drop(pool, moved[1])
      enter(pool, moved[1], rank + moved[2], moved[3] == 1)
    end
  end
  local wants = {}
  for i, want in ipairs(news.want or {}) do
    local id, class, waited = unpack(want)
    wants[i] = { id = id, class = class, rank = now - waited + GIVES_WAY[class] + i }
    wants[i].left, wants[i].whole, wants[i].guess = unpack(want, 4)
    enter(pool, id, wants[i].rank, class == 0)
  end
  advance(pool)
  if learning or #wants == 0 then return end
  table.sort(wants, by_rank)
  for _, want in ipairs(wants) do judge(pool, want) end
  bound(pool)
  advance(pool) -- a heavy head may have left
end

local function describe(pool)
  local service = pool.service > 0 and pool.service or GUESS
  local waits = { 0, 0, 0 } -- of whoever would come now, by class
  if pool.waiting > 0 or pool.busy >= slots(pool, false) then
    for class = 0, 2 do waits[class + 1] = math.floor(wait(pool, now + GIVES_WAY[class], 1, class == 0, service)) end
  end
  return { limit = pool.limit, ceiling = pool.ceiling, others = pool.others, cuts = pool.cuts, waits = waits,
    service = math.floor(pool.service), measured = pool.measured }
end

for name, news in pairs(message.pools) do
  local pool = read(name)
  if message.claim then claim(pool, news) end
  if pool.limit > 0 then
    apply(pool, news)
    answer.pools[name] = describe(pool)
    if message.beat then answer.pools[name].share = share(pool, news.share) end
    save(pool)
  end
end

for process, letter in pairs(mail) do
  local claimed = call('HGET', root, 'claim:' .. process)
  call('HINCRBY', root, 'mail:' .. process, 1)
  call('HSETNX', root, 'unread:' .. process, now)
  letter.claim = tonumber(claimed) -- void once the process has claimed again
  call('PUBLISH', channel(process), cjson.encode(letter))
end
answer.letters = not message.claim and tonumber(got[5]) or 0
answer.now = math.floor(now / 1e3)
return cjson.encode(answer)
