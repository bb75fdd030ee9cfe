-- Heartbeat of a site that does not lead; grants it the lock if it is eligible and nothing stands in the way.
local epoch, suspended = read_memory()
if req.epoch_seen > epoch then
  epoch = req.epoch_seen
  redis.call('HSET', MEMORY, 'epoch', epoch)
end
count_logins()

local lock, left = read_lock()
if lock and lock.owner == req.owner then
  -- Whoever campaigns runs nothing: this lock is from a grant whose answer was lost.
  redis.call('DEL', LOCK)
  redis.call('HDEL', MEMORY, 'holder', 'holder_owner')
  lock = nil
end
local last = redis.call('HMGET', MEMORY, 'holder', 'holder_owner')
if last[2] == req.owner then last = {} end  -- a lock of its own that has expired
if lock then left = bound_lock(lock, left) end

-- A site of these places that stands ready, and is not damped; and for how long, as far as is known.
local function ready_among(first, last)
  for place = first, last do
    local beat = place ~= req.place and read_beat(place)
    if is_ready(beat) and damped_for(beat.site) == 0 then return beat.site, beat.fresh_until - now end
  end
end

-- For how long the last lease, or one that the store has forgotten, may still be in use.
local function any_in_doubt()
  local over, whole = number(MEMORY, 'suspended_until'), req.ttl
  if last[1] then
    local renewed, lease = number(MEMORY, 'renewed'), number(MEMORY, 'lease')
    if renewed > now then  -- it was set back
      next_era()
      renewed = now
      redis.call('HSET', MEMORY, 'renewed', renewed)
    end
    whole, over = math.max(whole, lease), math.max(over, renewed + 0.99 * lease)
  end
  return in_doubt(over, whole)
end
local seen = any_in_doubt()
local doubt = (last[1] or number(MEMORY, 'suspended_until') > 0) and math.max(seen, req.doubt) or 0

-- For which site a released lock is kept, and for how long.
local function read_reserved()
  local site, left = redis.call('GET', RESERVED), redis.call('PTTL', RESERVED)
  if left > req.reserve then  -- the server's clock was set back
    redis.call('PEXPIRE', RESERVED, req.reserve)
    left = req.reserve
  end
  return site, left
end

-- Whether the asker is more preferred than a site: one that came up while the lead was handed to that other site. It goes
-- first, but not if an operator chose the other.
local function goes_before(site)
  for place = req.place + 1, #KEYS - 6 do
    local beat = read_beat(place)
    if beat and beat.site == site then return true end
  end
  return false
end

-- Why the lock cannot be granted, by which site, and when that will have passed by itself.
local function obstacle()
  if is_drained(req.site) then return 'drained', '', -1 end
  if lock then return 'held', lock.site, left + 1 end
  if not req.eligible then return 'ineligible', '', -1 end
  if suspended > 0 then return 'suspended', '', math.max(suspended, doubt) end
  if doubt > 0 then return 'in doubt', last[1] or '', doubt end
  if next_login_in() > 0 then return 'budget', '', next_login_in() end
  local reserved, its_time = read_reserved()
  if reserved then
    local switched = redis.call('HGET', OPERATOR, 'switch_to') == reserved
    if switched and reserved == req.site then return nil end
    if reserved ~= req.site and (switched or not goes_before(reserved)) then return 'reserved', reserved, its_time + 1 end
  end
  local hold = number(OPERATOR, 'hold_until') - now
  local holder = redis.call('HGET', OPERATOR, 'hold_site')
  if hold > 0 then
    if holder == req.site then return nil end
    return 'on hold', holder, hold
  end
  local pause = damped_for(req.site)
  local other
  if pause > 0 then
    other, its_time = ready_among(1, #KEYS - 6)
    if other then return 'damped', other, math.min(pause, its_time) end
  else
    other, its_time = ready_among(1, req.place - 1)
    if other then return 'preferred', other, its_time end
  end
  return nil
end

local why, by, wait = obstacle()
local said = write_beat(req.eligible, why or '')
if why then
  if why ~= said and (why == 'preferred' or why == 'budget') then
    journal('refused-by-' .. (why == 'budget' and 'budget' or 'priority'), req.site, req.owner, epoch, by)
  end
  return answer({status = 'refused', why = why, by = by, wait = wait, epoch = epoch, doubt = seen})
end

if last[1] then
  journal('expired', last[1], last[2], epoch, 'not renewed')
  count_loss(last[1], last[2], epoch)
end
epoch = epoch + 1
write_lock(epoch, now)
redis.call('HSET', MEMORY, 'suspended_until', 0)  -- there is no other lease: whatever the store had forgotten is over
spend_logins(1, -1)
redis.call('HSET', MEMORY, 'told:' .. req.site, req.owner .. ' ' .. req.logins)
redis.call('DEL', RESERVED)
journal('acquired', req.site, req.owner, epoch)
if redis.call('HGET', OPERATOR, 'switch_to') == req.site then
  redis.call('HSET', OPERATOR, 'pinned', req.site)
  redis.call('HDEL', OPERATOR, 'switch_to', 'switch_until', 'switch_why')
elseif redis.call('HGET', OPERATOR, 'pinned') ~= req.site then
  redis.call('HDEL', OPERATOR, 'pinned')
end
if redis.call('HEXISTS', OPERATOR, 'hold_until') == 1 then redis.call('HSET', OPERATOR, 'hold_site', req.site) end
return answer({status = 'granted', epoch = epoch, logins_left = logins_left()})
