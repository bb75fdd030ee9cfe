-- The caller knows that this server has lost nothing: its data is brand new, or was closed by a clean shutdown.
local run = server_run()
if redis.call('HGET', MEMORY, 'run') == run then return answer({status = 'known'}) end
redis.call('HSET', MEMORY, 'run', run)
redis.call('HSETNX', MEMORY, 'epoch', 0)
redis.call('HSETNX', MEMORY, 'suspended_until', 0)
journal('initialised', req.site, req.owner, redis.call('HGET', MEMORY, 'epoch'), 'nothing was lost')
return answer({status = 'initialised'})
