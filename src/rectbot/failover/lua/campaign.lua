-- Heartbeat of a site that does not lead; grants it the lock if it is eligible and nothing stands in the way.
local epoch, suspended = read_memory()
if req.epoch_seen > epoch then
  epoch = req.epoch_seen
  redis.call('HSET', MEMORY, 'epoch', epoch)
end
write_beat(req.eligible)

local lock, left = read_lock()
if lock and lock.owner == req.owner then
  -- Whoever campaigns runs nothing: this lock is from a grant whose answer was lost.
  redis.call('DEL', LOCK)
  lock = nil
end

-- Why the lock cannot be granted, by which site, and when that will have passed by itself.
local function obstacle()
  if lock then return 'held', lock.site, left + 1 end
  if not req.eligible then return 'ineligible', '', -1 end
  if suspended > 0 then return 'suspended', '', suspended end
  local reserved = redis.call('GET', RESERVED)
  if reserved == req.site then return nil end
  if reserved then return 'reserved', reserved, redis.call('PTTL', RESERVED) + 1 end
  for i, site in ipairs(req.preferred) do
    local beat = read_beat(KEYS[5 + i])
    if is_ready(beat) then return 'preferred', site, beat.fresh_until - now end
  end
  return nil
end

local why, by, wait = obstacle()
if why then
  return answer({status = 'refused', why = why, by = by, wait = wait, epoch = epoch})
end

local last = redis.call('HMGET', MEMORY, 'holder', 'holder_owner')
if last[1] and last[2] ~= req.owner then
  journal('expired', last[1], last[2], epoch, 'not renewed')
end
epoch = epoch + 1
write_lock(epoch, now)
redis.call('DEL', RESERVED)
journal('acquired', req.site, req.owner, epoch)
return answer({status = 'granted', epoch = epoch})
