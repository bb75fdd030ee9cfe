-- Begins every script. A request is one JSON object; the reply is another, and always tells the store's time.
-- Times are milliseconds of this server's clock; no other clock is ever compared with it.
-- KEYS: lock, memory, reservation, events, operator, counts, then the heartbeat of each site, most preferred first.
local LOCK, MEMORY, RESERVED, EVENTS, OPERATOR, COUNTS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local req = cjson.decode(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local era = tonumber(redis.call('HGET', MEMORY, 'era') or 0)

local function answer(reply)
  reply.now, reply.era = now, era
  return cjson.encode(reply)
end

-- One line of history, and one more in the count of its kind.
local function journal(kind, site, owner, epoch, why)
  redis.call('XADD', EVENTS, 'MAXLEN', '~', 10000, '*',
    'kind', kind, 'site', site, 'owner', owner, 'epoch', epoch, 'why', why or '', 'ms', now)
  redis.call('HINCRBY', COUNTS, kind .. ':' .. site, 1)
end

local function announce()
  redis.call('PUBLISH', req.channel, req.site)
end

local function number(key, field)
  return tonumber(redis.call('HGET', key, field) or 0)
end

-- The lock and the milliseconds that are left of it.
local function read_lock()
  local text = redis.call('GET', LOCK)
  if not text then return nil, 0 end
  local known, lock = pcall(cjson.decode, text)
  if not known or type(lock) ~= 'table' then lock = {owner = '', site = 'unknown', epoch = 0} end
  return lock, redis.call('PTTL', LOCK)
end

-- This server's clock may have been set back since the present era began: what was heard of it before counts no more. The
-- number is no other era's, also where a memory was lost or is older than what sites have heard.
local function next_era()
  era = math.max(era + 1, now)
  redis.call('HSET', MEMORY, 'era', era)
end

-- Whether the asker has heard of this server's clock in this era.
local function has_watched()
  return req.heard_at and req.era == era
end

-- Whether it was set back since the last lease was written, or since the asker heard of it. (99 %: see FailoverConfig.lease_ms.)
local function may_be_set_back()
  return number(MEMORY, 'renewed') > now or not has_watched() or now < req.heard_at + 0.99 * req.heard_ms
end

-- A server's clock that was set back, or another program that sets no expiry, must not stretch a lease.
local function bound_lock(lock, left)
  local ttl = lock.ttl or req.ttl
  if left >= 0 and left <= ttl then return left end
  redis.call('PEXPIRE', LOCK, ttl)
  return ttl
end

-- For how long a lease that is over at `over` may still be in use, whatever this server's clock says: it may have been set
-- forward. The asker has watched it with a clock that is never set: `heard_ms` ago it heard that it was `heard_at` here; what
-- this clock has gone on beyond that does not count. Who has not watched yet begins now. (99 %: see FailoverConfig.lease_ms.)
local function in_doubt(over, whole)
  if over == 0 then return 0 end
  if not has_watched() then return whole end
  local ahead = math.max(0, now - req.heard_at - 0.99 * req.heard_ms)
  return math.ceil(math.max(math.min(over - now + ahead, whole), 0))
end

local function write_lock(epoch, since)
  if may_be_set_back() then next_era() end
  redis.call('SET', LOCK, cjson.encode({
    owner = req.owner, site = req.site, epoch = epoch, ts = now, since = since, ttl = req.ttl}), 'PX', req.ttl)
  redis.call('HSET', MEMORY, 'epoch', epoch, 'holder', req.site, 'holder_owner', req.owner,
    'renewed', now, 'lease', req.ttl)
end

-- The login budget is a leaky bucket. Each login fills it by `login_ms`; it holds `login_burst` of them, and empties with
-- time. So any 24 hours see at most login_burst + 24 h / login_ms logins.
local function owed()
  return math.max(0, math.min(number(MEMORY, 'owed_until') - now, req.login_burst * req.login_ms))
end

local function logins_left()
  return math.floor(req.login_burst - owed() / req.login_ms)
end

local function next_login_in()
  return math.max(0, math.ceil(owed() - (req.login_burst - 1) * req.login_ms))
end

-- Enters logins; `left` is how many the service itself still allows, -1 when it did not say.
local function spend_logins(count, left)
  if count == 0 and left < 0 then return end
  local full = req.login_burst * req.login_ms
  local debt = owed() + count * req.login_ms
  if left >= 0 then debt = math.max(debt, full - left * req.login_ms) end
  redis.call('HSET', MEMORY, 'owed_until', now + math.min(debt, full))
  if count > 0 then redis.call('HINCRBY', COUNTS, 'login:' .. req.site, count) end
end

-- Enters what the asker says of its logins: how many it has made since it began, but those that a grant has paid for. So
-- telling twice does no harm. Where the number that it told before is forgotten, so is what it cost: it counts from now on.
local function count_logins()
  if req.logins == 0 and req.allowed < 0 then return end
  local field = 'told:' .. req.site
  local owner, before = string.match(redis.call('HGET', MEMORY, field) or '', '^(.*) (%d+)$')
  before = owner == req.owner and tonumber(before) or req.logins
  spend_logins(math.max(0, req.logins - before), req.allowed)
  redis.call('HSET', MEMORY, field, req.owner .. ' ' .. req.logins)
end

-- This server process; of a group of servers, also by whose decision it is the master.
local function server_run()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') .. req.term
end

-- What the store remembers of past leases: the last epoch, and until when grants are suspended.
-- A server that is new, flushed, restarted or promoted from a replica may have lost a grant; the lease that it lost is over
-- one TTL from now. Epochs then go on from further than can have been lost (1000 logins are what Discord allows a day), or, when
-- none is known, from the milliseconds since 1970; and of the logins that it may have forgotten all but ten are taken for spent.
local function read_memory()
  local run = server_run()
  local known = redis.call('HMGET', MEMORY, 'run', 'epoch', 'suspended_until')
  local epoch = tonumber(known[2]) or 0
  local until_ms = tonumber(known[3]) or 0
  if until_ms > now + req.ttl then  -- the clock was set back
    next_era()
    until_ms = now + req.ttl
    redis.call('HSET', MEMORY, 'suspended_until', until_ms)
  end
  if known[1] ~= run then
    if known[2] then epoch = epoch + 1000 else epoch = now; spend_logins(0, 10) end
    until_ms = now + req.ttl
    next_era()
    redis.call('HSET', MEMORY, 'run', run, 'epoch', epoch, 'suspended_until', until_ms)
    journal('suspended', req.site, req.owner, epoch, known[1] and 'another server process' or 'no memory')
  end
  return epoch, until_ms - now
end

-- Damping: from its second loss of the lead on, a site leaves it to others for longer and longer. It is all forgotten once a
-- site has lost nothing for twice the longest of these times.
local function losses_of(site)
  local lost_at = number(MEMORY, 'lost_at:' .. site)
  if lost_at > now or now - lost_at > 2 * req.damping_max then return 0, 0 end
  return number(MEMORY, 'losses:' .. site), lost_at
end

local function damped_for(site)
  local losses, lost_at = losses_of(site)
  if losses < 2 then return 0 end
  local damping = math.min(req.damping * 2 ^ (math.min(losses, 32) - 2), req.damping_max)
  return math.max(0, lost_at + damping - now)
end

local function count_loss(site, owner, epoch)
  local losses = losses_of(site) + 1
  redis.call('HSET', MEMORY, 'losses:' .. site, losses, 'lost_at:' .. site, now)
  local pause = damped_for(site)
  if pause > 0 then
    journal('damped', site, owner, epoch, string.format('%d losses: leaves the lead to others for %d s', losses, pause / 1000))
  end
end

local function is_drained(site)
  return redis.call('HEXISTS', OPERATOR, 'drained:' .. site) == 1
end

local function read_beat(place)
  local text = redis.call('GET', KEYS[6 + place])
  return text and cjson.decode(text)
end

-- Whether its site would lead. Fresh as long as the lock that was last written with it would live.
local function is_ready(beat)
  return beat and beat.eligible and now < beat.fresh_until and beat.fresh_until <= now + beat.ttl
    and not is_drained(beat.site) and beat.waits ~= 'in doubt'
end

-- Writes the asker's heartbeat, and tells the others when it became ready or ceased to be. `waits` says why it does not lead.
-- Returns what it said before.
local function write_beat(eligible, waits)
  local before = read_beat(req.place)
  local was_ready = is_ready(before)
  local same = was_ready and before.owner == req.owner
  local since = same and before.eligible_since or now
  redis.call('SET', KEYS[6 + req.place], cjson.encode({
    site = req.site, owner = req.owner, eligible = eligible, priority = req.place - 1, ts = now, ttl = req.ttl,
    fresh_until = now + req.ttl, eligible_since = since, number = req.number, waits = waits, report = req.report}), 'PX', req.beat_ttl)
  local ready = eligible and not is_drained(req.site) and waits ~= 'in doubt'
  -- A process that is new here, too: its predecessor's heartbeat looks fresh again after the clock was set back.
  if (ready and not same) or (was_ready and not ready) then announce() end
  return before and before.waits or ''
end

-- Came too late for its sender, who has given it up, or has even sent another: it must not take effect any more.
if now > req.not_after then return answer({status = 'late'}) end
local newest = req.place > 0 and read_beat(req.place)
if newest and newest.owner == req.owner and newest.number >= req.number then return answer({status = 'overtaken'}) end
