-- Gives the asker's lock up, for everyone or for one site. A site that leaves takes its heartbeat with it, and any lock:
-- it may have been granted one without having heard of it.
local lock = read_lock()
if lock and lock.owner == req.owner and (req.leaving or lock.epoch == req.epoch) then
  redis.call('DEL', LOCK)
  redis.call('HDEL', MEMORY, 'holder', 'holder_owner')
  if req.to ~= '' then redis.call('SET', RESERVED, req.to, 'PX', req.reserve) end
  journal(req.to ~= '' and 'handed-over' or 'released', req.site, req.owner, lock.epoch, req.reason)
end
if not req.leaving then
  write_beat(req.eligible)
else
  local beat = read_beat(BEAT)
  if beat and beat.owner == req.owner then redis.call('DEL', BEAT) end
end
announce()
return answer({status = 'released'})
