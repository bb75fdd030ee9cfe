-- The register in Redis: read it, and swap it if it is still what the caller has seen. No rule of the lease is in here.
-- KEYS: record, when it was written, lock, events; of earlier versions: operator, reservation, counts; the heartbeat.
local RECORD, WRITTEN, LOCK, EVENTS, OLD_OPERATOR, OLD_RESERVED, OLD_COUNTS, BEAT = unpack(KEYS)
local req = cjson.decode(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- This server process; of a group of servers, also by whose decision it is the master.
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') .. req.term

-- What is there: a token that names it, the kind of it, and the text if it is one.
local function present()
  local kind = redis.call('TYPE', RECORD).ok
  if kind ~= 'string' then return kind, kind, false end
  local text = redis.call('GET', RECORD)
  return redis.sha1hex(text), kind, text
end

-- When it was written. Earlier versions kept another number behind that.
local function written()
  local known, text = pcall(redis.call, 'GET', WRITTEN)
  return tonumber(string.match(known and type(text) == 'string' and text or '', '^%d+'))
end

local function answer()
  local token, kind, text = present()
  local at = written()
  local old = ''
  if kind == 'hash' then  -- the memory of an earlier version
    local operator = redis.pcall('HGETALL', OLD_OPERATOR)
    old = cjson.encode({epoch = redis.call('HGET', RECORD, 'epoch'), lock = redis.call('EXISTS', LOCK) == 1, now = now,
      operator = operator.err and {} or operator})
  end
  return {token, kind, text, server, at and math.max(0, now - at) or -1, old}
end

local token, kind = present()
-- A leader of an earlier version knows nothing of the record: only its lock, which it holds, or which expires.
local busy = kind == 'hash' and redis.call('EXISTS', LOCK) == 1
if not req.swap or busy or token ~= req.token or server ~= req.server then return answer() end

if kind == 'hash' then
  redis.call('DEL', RECORD, OLD_OPERATOR, OLD_RESERVED, OLD_COUNTS)
elseif kind ~= 'string' and kind ~= 'none' then  -- another program's
  redis.call('RENAME', RECORD, RECORD .. ':aside')
end
local text = ARGV[2]
redis.call('SET', RECORD, text)
redis.call('SET', WRITTEN, string.format('%.0f', now))

-- The journal: events that the record before did not have.
for _, event in ipairs(req.events) do
  local function add()
    return redis.pcall('XADD', EVENTS, 'MAXLEN', '~', 10000, '*', 'number', string.format('%.0f', event.number), 'kind', event.kind,
      'site', event.site, 'owner', event.owner, 'epoch', string.format('%.0f', event.epoch), 'why', event.why,
      'ms', string.format('%.0f', event.ms))
  end
  if add().err then  -- not a stream
    redis.call('RENAME', EVENTS, EVENTS .. ':aside')
    add()
  end
end

-- What other programs may read: docs/redis.md.
if req.lock == '' then redis.call('DEL', LOCK)
elseif req.lock then redis.call('SET', LOCK, req.lock, 'PX', req.lock_ms) end
if req.beat == '' then redis.call('DEL', BEAT)
elseif req.beat then redis.call('SET', BEAT, req.beat, 'PX', req.beat_ms) end

local new = redis.sha1hex(text)
redis.call('PUBLISH', req.channel, server .. ' ' .. new .. ' ' .. text)
return {new, 'string', text, server, 0, ''}
