-- One step of one process. What it says of itself replaces what it said before, and the totals follow: so whatever is
-- told twice, or told again with everything else, changes nothing.
--
-- KEYS  1 root: every other key begins with it
--   root:alive      zset    process -> when it last spoke (ms, the server's clock)
--   root:learning   string  until when (ms) no budget is granted
--   root:months     set
--   root:usage:<M>  hash    row -> its sums
--   root:spent:<M>  hash    account -> nano-dollars, what is held included
--   root:of:<P>     hash    of one process: "seq"; row -> its part of the sums; "held:<id>" -> [row, credits, usd, sent]
-- ARGV  1 process  2 number of this step  3 number of its last step that was answered
--       4 JSON: rows {row: sums}, holds [[id, row, credits, usd, sent, limits]], gone [id], and whether
--         all (it holds nothing else), more (rows are to follow), leave (it ends)
-- A row is JSON, [day, caller, model]; sums are whole numbers in the order of ledger.Usage; usd is in nano-dollars.
local GIVEN_UP, LEARN, REMEMBERED, LEFT = 3000, 2000, 7 * 86400000, 60000 -- ms
local UNCERTAIN_CREDITS, COST, UNCERTAIN = 2, 3, 4
local NOTHING = '[0,0,0,0]'

local root, me, seq, heard, said = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), cjson.decode(ARGV[4])
local call = redis.call
local alive, learning, months = root .. ':alive', root .. ':learning', root .. ':months'
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local owed = {} -- month -> account -> nano-dollars that this step adds

local function of(process) return root .. ':of:' .. process end

local function month_of(row) return cjson.decode(row)[1]:sub(1, 7) end

local function sums_at(key, row) return cjson.decode(call('HGET', key, row) or NOTHING) end

local function whole(number) return string.format('%.0f', number) end -- cjson would round to 14 digits

local function put_sums(key, row, sums)
  local texts = {}
  for i, sum in ipairs(sums) do texts[i] = whole(sum) end
  call('HSET', key, row, '[' .. table.concat(texts, ',') .. ']')
end

local function spend(row, usd) -- from the accounts of ledger.Row
  local day, caller = unpack(cjson.decode(row))
  local month = day:sub(1, 7)
  owed[month] = owed[month] or {}
  for _, account in ipairs({ day, month, caller .. ' on ' .. day }) do
    owed[month][account] = (owed[month][account] or 0) + usd
  end
end

local function spent_of(row, account)
  local month = month_of(row)
  return (call('HGET', root .. ':spent:' .. month, account) or 0) + ((owed[month] or {})[account] or 0)
end

local function pay()
  for month, accounts in pairs(owed) do
    for account, usd in pairs(accounts) do
      if usd ~= 0 then call('HINCRBY', root .. ':spent:' .. month, account, whole(usd)) end
    end
  end
end

local function book(process, row, sums) -- all that it ever booked there
  local month = month_of(row)
  local before, total = sums_at(of(process), row), sums_at(root .. ':usage:' .. month, row)
  for i, sum in ipairs(sums) do total[i] = (total[i] or 0) + sum - (before[i] or 0) end
  put_sums(root .. ':usage:' .. month, row, total)
  put_sums(of(process), row, sums)
  call('SADD', months, month)
  spend(row, sums[COST] + sums[UNCERTAIN] - before[COST] - before[UNCERTAIN])
end

local function release(process, id)
  local held = call('HGET', of(process), 'held:' .. id)
  if not held then return end
  local row, credits, usd, sent = unpack(cjson.decode(held))
  call('HDEL', of(process), 'held:' .. id)
  spend(row, -usd)
  return sent, row, credits, usd
end

local function ids_held_by(process)
  local ids = {}
  for _, field in ipairs(call('HKEYS', of(process))) do
    if field:sub(1, 5) == 'held:' then ids[#ids + 1] = field:sub(6) end
  end
  return ids
end

local function release_all_but(holds)
  local kept = {}
  for _, each in ipairs(holds) do kept[each[1]] = true end
  for _, id in ipairs(ids_held_by(me)) do
    if not kept[id] then release(me, id) end
  end
end

local function give_up(process, remembered) -- should it come back, it says everything again, and that corrects this
  for _, id in ipairs(ids_held_by(process)) do
    local sent, row, credits, usd = release(process, id)
    if sent then
      local sums = sums_at(of(process), row)
      sums[UNCERTAIN_CREDITS], sums[UNCERTAIN] = sums[UNCERTAIN_CREDITS] + credits, sums[UNCERTAIN] + usd
      book(process, row, sums)
    end
  end
  call('ZREM', alive, process)
  call('PEXPIRE', of(process), remembered)
end

local function refusing(row, usd, limits)
  for _, limit in ipairs(limits) do
    if spent_of(row, limit[1]) + usd > limit[2] + 1 then return limit[1] end
  end
end

local function hold(id, row, credits, usd, sent, limits) -- the account that refuses it
  local held = call('HEXISTS', of(me), 'held:' .. id) == 1
  local account = not held and refusing(row, usd, limits)
  if account then return account end
  if not held then spend(row, usd) end
  call('HSET', of(me), 'held:' .. id, cjson.encode({ row, credits, usd, sent }))
end

-- Is what it thinks we know what we know? The first SET is what a full Redis refuses, before anything is done by half.
local stored, known = tonumber(call('HGET', of(me), 'seq') or 0), call('ZSCORE', alive, me)
if seq <= stored then return { 'late' } end
call('SET', learning, 0, 'NX')
if stored < heard or said.more then -- something was lost, and maybe not of this one alone
  call('SET', learning, now + LEARN)
end
if not said.all and stored < heard then return { 'lost' } end
if not said.all and not known then return { 'given up' } end

local last = call('ZREVRANGE', alive, 0, 0, 'WITHSCORES')[2]
if known and now - last > GIVEN_UP then -- nobody could speak, not even this one: it was us who were away
  for _, process in ipairs(call('ZRANGE', alive, 0, -1)) do call('ZADD', alive, now, process) end
end
call('ZADD', alive, now, me)
call('HSET', of(me), 'seq', seq)
call('PERSIST', of(me))
for _, process in ipairs(call('ZRANGEBYSCORE', alive, '-inf', now - GIVEN_UP)) do give_up(process, REMEMBERED) end

if said.all then release_all_but(said.holds) end
for _, id in ipairs(said.gone) do release(me, id) end
for row, sums in pairs(said.rows) do book(me, row, sums) end

local refused = {}
for _, each in ipairs(said.holds) do
  local account = hold(unpack(each))
  if account then refused[#refused + 1], refused[#refused + 2] = each[1], account end
end
if said.leave then give_up(me, LEFT) end
pay()
return { 'done', tonumber(call('GET', learning)) > now and 1 or 0, refused }
