-- Everything that an operator wants to see, at one moment. Changes nothing.
local clock = redis.call('TIME')
local beats = {}
for i = 3, #KEYS do beats[i - 2] = redis.call('GET', KEYS[i]) or '' end
return cjson.encode({
  now = clock[1] * 1000 + math.floor(clock[2] / 1000),
  lock = redis.call('GET', KEYS[1]) or '', left = redis.call('PTTL', KEYS[1]),
  suspended_until = tonumber(redis.call('HGET', KEYS[2], 'suspended_until') or 0), beats = beats})
