-- Heartbeat of the leader: keeps its lock for another TTL, and says which preferred site waits for it.
local epoch, suspended = read_memory()
local lock = read_lock()
local mine = lock and lock.owner == req.owner and lock.epoch == req.epoch
-- While grants are suspended nobody can have won the lock since: what is missing, or older, was lost by the store.
local forgotten = suspended > 0 and (not lock or lock.epoch < req.epoch)
if not mine and not forgotten then
  journal('renew-refused', req.site, req.owner, req.epoch, lock and 'held by ' .. lock.site or 'no lock')
  return answer({status = 'lost', holder = lock and lock.site or ''})
end
write_lock(req.epoch, mine and lock.since or now)
redis.call('HSET', MEMORY, 'epoch', math.max(epoch, req.epoch))
if not mine then journal('restored', req.site, req.owner, req.epoch, 'the store had forgotten it') end
write_beat(true)

local soonest = -1
for i, site in ipairs(req.preferred) do
  local beat = read_beat(KEYS[5 + i])
  if is_ready(beat) then
    local wait = math.max(0, beat.eligible_since + req.failback - now)
    if wait == 0 then return answer({status = 'renewed', yield_to = site, yield_in = -1}) end
    if soonest < 0 or wait < soonest then soonest = wait end
  end
end
return answer({status = 'renewed', yield_to = '', yield_in = soonest})
