-- Begins every script. A request is one JSON object; the reply is another, and always tells the store's time.
-- KEYS: lock, memory, reservation, events, own heartbeat, then the heartbeats of the more preferred sites, best first.
-- Times are milliseconds of this server's clock; no other clock is ever compared with it.
local LOCK, MEMORY, RESERVED, EVENTS, BEAT = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local req = cjson.decode(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function answer(reply)
  reply.now = now
  return cjson.encode(reply)
end

local function journal(kind, site, owner, epoch, why)
  redis.call('XADD', EVENTS, 'MAXLEN', '~', 10000, '*',
    'kind', kind, 'site', site, 'owner', owner, 'epoch', epoch, 'why', why or '', 'ms', now)
end

local function announce()
  redis.call('PUBLISH', req.channel, req.site)
end

-- The lock and the milliseconds that are left of it. A server's clock that was set back must not stretch a lease.
local function read_lock()
  local text = redis.call('GET', LOCK)
  if not text then return nil, 0 end
  local left = redis.call('PTTL', LOCK)
  if left < 0 or left > req.ttl then
    redis.call('PEXPIRE', LOCK, req.ttl)
    left = req.ttl
  end
  local known, lock = pcall(cjson.decode, text)
  if not known or type(lock) ~= 'table' then lock = {owner = '', site = 'unknown', epoch = 0} end
  return lock, left
end

local function write_lock(epoch, since)
  redis.call('SET', LOCK, cjson.encode({
    owner = req.owner, site = req.site, epoch = epoch, ts = now, since = since}), 'PX', req.ttl)
  redis.call('HSET', MEMORY, 'epoch', epoch, 'holder', req.site, 'holder_owner', req.owner)
end

-- What the store remembers of past leases: the last epoch, and until when grants are suspended.
-- A server that is new, flushed, restarted or promoted from a replica may have lost a grant; the lease that it lost is over
-- one TTL from now. Epochs then go on from further than can have been lost (1000 logins are what Discord allows a day).
local function read_memory()
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local known = redis.call('HMGET', MEMORY, 'run', 'epoch', 'suspended_until')
  local epoch = tonumber(known[2]) or 0
  local until_ms = math.min(tonumber(known[3]) or 0, now + req.ttl)
  if known[1] ~= run then
    if known[2] then epoch = epoch + 1000 end
    until_ms = now + req.ttl
    redis.call('HSET', MEMORY, 'run', run, 'epoch', epoch, 'suspended_until', until_ms)
    journal('suspended', req.site, req.owner, epoch, known[1] and 'another server process' or 'no memory')
  end
  return epoch, until_ms - now
end

local function read_beat(key)
  local text = redis.call('GET', key)
  return text and cjson.decode(text)
end

-- Whether its site stands ready. Fresh as long as the lock that was last written with it would live.
local function is_ready(beat)
  return beat and beat.eligible and now < beat.fresh_until and beat.fresh_until <= now + req.ttl
end

-- Writes the asker's heartbeat, and tells the others when it became ready or ceased to be.
local function write_beat(eligible)
  local before = read_beat(BEAT)
  local was_ready = is_ready(before)
  local since = now
  if was_ready and before.owner == req.owner then since = before.eligible_since end
  redis.call('SET', BEAT, cjson.encode({
    site = req.site, owner = req.owner, eligible = eligible, priority = req.priority, ts = now,
    fresh_until = now + req.ttl, eligible_since = since}), 'PX', req.beat_ttl)
  if (was_ready or false) ~= eligible then announce() end
end

-- Answered too late for its sender, who has given it up: it must not take effect any more.
if now > req.not_after then return answer({status = 'late'}) end
