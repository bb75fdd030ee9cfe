-- Gives the asker's lock up, for everyone or for one site. A site that leaves takes its heartbeat with it, and any lock:
-- it may have been granted one without having heard of it.
count_logins()
local lock = read_lock()
local mine = lock and lock.owner == req.owner and (req.leaving or lock.epoch == req.epoch)
if mine then redis.call('DEL', LOCK) end
-- A lock that expired before it could be released was still the asker's if nobody has been granted it since.
if mine or (not lock and redis.call('HGET', MEMORY, 'holder_owner') == req.owner) then
  redis.call('HDEL', MEMORY, 'holder', 'holder_owner')
  if req.to ~= '' then redis.call('SET', RESERVED, req.to, 'PX', req.reserve) end
  local epoch = lock and lock.epoch or req.epoch
  journal(req.ending, req.site, req.owner, epoch, req.reason)
  if req.ending == 'renew-failed' or req.ending == 'workload-failed' then count_loss(req.site, req.owner, epoch) end
end
if not req.leaving then
  write_beat(req.eligible, '')
else
  local beat = read_beat(req.place)
  if beat and beat.owner == req.owner then redis.call('DEL', KEYS[6 + req.place]) end
end
announce()
return answer({status = 'released'})
