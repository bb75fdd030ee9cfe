-- Everything that an operator wants to see, at one moment. Changes nothing.
local sites = {}
for i, name in ipairs(req.sites) do
  local beat = read_beat(i)
  sites[i] = {
    name = name, beat = beat or cjson.null, ready = is_ready(beat) or false,
    damped = damped_for(name), losses = (losses_of(name)), drained = redis.call('HGET', OPERATOR, 'drained:' .. name)}
end
local hold = number(OPERATOR, 'hold_until') - now
local switch = now < number(OPERATOR, 'switch_until') and redis.call('HGET', OPERATOR, 'switch_to')
return answer({
  status = 'snapshot', lock = redis.call('GET', LOCK), left = redis.call('PTTL', LOCK), epoch = number(MEMORY, 'epoch'),
  suspended = math.max(0, number(MEMORY, 'suspended_until') - now), sites = sites,
  hold = math.max(0, hold), hold_site = redis.call('HGET', OPERATOR, 'hold_site'),
  hold_why = redis.call('HGET', OPERATOR, 'hold_why'),
  switch_to = switch, pinned = redis.call('HGET', OPERATOR, 'pinned'),
  logins_left = logins_left(), next_login = next_login_in(), counts = redis.call('HGETALL', COUNTS)})
