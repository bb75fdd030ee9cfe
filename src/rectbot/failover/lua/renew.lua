-- Heartbeat of the leader: keeps its lock for another TTL, and says who waits for it.
local epoch, suspended = read_memory()
count_logins()
local lock = read_lock()
local mine = lock and lock.owner == req.owner and lock.epoch == req.epoch
-- While grants are suspended nobody can have won the lock since: what is missing, or older, was lost by the store.
local forgotten = suspended > 0 and (not lock or lock.epoch < req.epoch)
-- And a lock that this server ended too early, as its clock was set forward, is still the asker's if nobody has won it since.
local known = redis.call('HMGET', MEMORY, 'holder_owner', 'epoch')
if not lock and known[1] == req.owner and tonumber(known[2]) == req.epoch then forgotten = true end
if not mine and not forgotten then
  journal('renew-refused', req.site, req.owner, req.epoch, lock and 'held by ' .. lock.site or 'no lock')
  return answer({status = 'lost', holder = lock and lock.site or ''})
end
write_lock(req.epoch, mine and lock.since or now)
redis.call('HSET', MEMORY, 'epoch', math.max(epoch, req.epoch))
if not mine then journal('restored', req.site, req.owner, req.epoch, 'the store had forgotten it') end
write_beat(true, '')

-- What was restored need not be the last lease: a late renewal of an earlier one may come first. So grants stay suspended
-- until what the store had forgotten is over, and the lead stays where it is, as nobody else could take it.
local suspended_until = number(MEMORY, 'suspended_until')
local doubt = in_doubt(suspended_until, req.ttl)
if suspended_until > 0 and doubt == 0 then redis.call('HSET', MEMORY, 'suspended_until', 0) end

local function renewed(reply)
  reply.status = 'renewed'
  reply.logins_left = logins_left()
  return answer(reply)
end

if is_drained(req.site) then
  return renewed({yield_to = '', yield_in = -1, why = redis.call('HGET', OPERATOR, 'drained:' .. req.site)})
end
if doubt > 0 then return renewed({yield_to = '', yield_in = doubt, why = ''}) end
-- A move costs the next site a login, and must leave it one in reserve.
if logins_left() < 2 then return renewed({yield_to = '', yield_in = next_login_in() + req.login_ms, why = ''}) end

local function is_waiting(place, to)
  local beat = read_beat(place)
  return is_ready(beat) and beat.site == to
end

local to = redis.call('HGET', OPERATOR, 'switch_to')
if to and to ~= req.site and now < number(OPERATOR, 'switch_until') then
  for place = 1, #KEYS - 6 do
    if is_waiting(place, to) then
      return renewed({yield_to = to, yield_in = -1, why = redis.call('HGET', OPERATOR, 'switch_why')})
    end
  end
end

-- Hand-back to a preferred site that has been ready for the failback delay.
local soonest = -1
if redis.call('HGET', OPERATOR, 'pinned') ~= req.site and number(OPERATOR, 'hold_until') <= now then
  for place = 1, req.place - 1 do
    local beat = read_beat(place)
    if is_ready(beat) then
      local wait = math.max(0, beat.eligible_since + req.failback - now, damped_for(beat.site))
      if wait == 0 then return renewed({yield_to = beat.site, yield_in = -1, why = ''}) end
      if soonest < 0 or wait < soonest then soonest = wait end
    end
  end
end
return renewed({yield_to = '', yield_in = soonest, why = ''})
