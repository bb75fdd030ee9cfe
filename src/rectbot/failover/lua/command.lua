-- An operator's act. It changes what the sites are told at their next request, and has them ask at once.
local function accepted(kind, site, changed)
  if changed then
    journal(kind, site, req.by, number(MEMORY, 'epoch'), req.reason)
    announce()
  end
  return answer({status = 'accepted', changed = changed})
end

local function declined(why)
  return answer({status = 'declined', why = why})
end

local function because()
  return req.reason == '' and req.by or req.by .. ': ' .. req.reason
end

local function why_not_ready(beat)
  if is_drained(req.to) then return 'it is drained: undrain it first' end
  if not beat or now >= beat.fresh_until then return 'it is not running, or is cut off from Redis' end
  if not beat.eligible then return 'it sits out after a failure, or is stopping' end
  if next_login_in() > 0 then return string.format('the login budget is spent; the next one in %d s', next_login_in() / 1000) end
end

local act = {}

function act.switch()
  local lock = read_lock()
  if lock and lock.site == req.to then
    local stays = redis.call('HGET', OPERATOR, 'pinned') == req.to
    redis.call('HSET', OPERATOR, 'pinned', req.to)
    redis.call('HDEL', OPERATOR, 'switch_to', 'switch_until', 'switch_why')
    return accepted('switch', req.to, not stays)
  end
  local why = why_not_ready(read_beat(req.to_place))
  if why then return declined(req.to .. ' cannot lead now: ' .. why) end
  redis.call('HSET', OPERATOR, 'switch_to', req.to, 'switch_until', now + req.for_ms, 'switch_why', 'switch by ' .. because())
  if not lock then redis.call('SET', RESERVED, req.to, 'PX', req.reserve) end
  return accepted('switch', req.to, true)
end

function act.hold()
  local lock = read_lock()
  local site = lock and lock.site or redis.call('HGET', MEMORY, 'holder') or ''
  local forever = 100 * 365 * 86400000
  redis.call('HSET', OPERATOR, 'hold_until', now + (req.for_ms > 0 and req.for_ms or forever),
    'hold_site', site, 'hold_why', because())
  return accepted('hold', site, true)
end

function act.unhold()
  local held = number(OPERATOR, 'hold_until') > now
  redis.call('HDEL', OPERATOR, 'hold_until', 'hold_site', 'hold_why')
  return accepted('unhold', '', held)
end

function act.drain()
  local changed = redis.call('HSETNX', OPERATOR, 'drained:' .. req.to, 'drained by ' .. because()) == 1
  return accepted('drain', req.to, changed)
end

function act.undrain()
  local changed = redis.call('HDEL', OPERATOR, 'drained:' .. req.to) == 1
  return accepted('undrain', req.to, changed)
end

return act[req.act]()
