-- Decides on the limits that the replicas of nulpoint share, by the clock of Redis. The arithmetic is the same as in
-- ratelimit/limiter.py. Times are whole microseconds since 1970, which a double represents exactly.
--
-- KEYS: the requests of all clients and of this client (lists of times); the tokens of all clients and of this client
--       (hashes with a level and its time); this client's requests in flight (a sorted set of leases by their end).
-- ARGV: the operation, the lease, then five numbers in the order of KEYS, then the operation's own arguments.
--   admit: the numbers are the limits (0: none); then come the tokens and the seconds of a lease.
--   finish: the numbers are 0, 0, the limits of both buckets, 0; then comes what to take from each bucket.
--   renew: the numbers are ignored; then come the seconds of a lease.
local WINDOW = 60 * 1000000
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local operation, lease = ARGV[1], ARGV[2]
local limits = {}
for at = 1, 5 do limits[at] = tonumber(ARGV[2 + at]) end

local function text(number) return string.format('%.17g', number) end

-- Returns the microseconds until one more request may be taken. It also removes some of the times that have left the
-- window, to keep the list short; the result does not depend on that.
local function window_wait(at)
  local limit, key = limits[at], KEYS[at]
  if limit == 0 then return 0 end
  for _ = 1, 64 do
    local oldest = redis.call('LINDEX', key, 0)
    if not oldest or tonumber(oldest) > now - WINDOW then break end
    redis.call('LPOP', key)
  end
  local nth = redis.call('LINDEX', key, -limit)
  if not nth then return 0 end
  return math.min(WINDOW, math.max(0, tonumber(nth) + WINDOW - now))
end

local function window_take(at)
  if limits[at] == 0 then return end
  redis.call('RPUSH', KEYS[at], text(now))
  redis.call('LTRIM', KEYS[at], -limits[at], -1)
  redis.call('PEXPIRE', KEYS[at], WINDOW / 1000 + 1000)
end

local function window_status(at)
  if limits[at] == 0 then return 0, 0 end
  local newest = redis.call('LINDEX', KEYS[at], -1)
  local reset = newest and math.max(0, tonumber(newest) + WINDOW - now) or 0
  return math.max(0, limits[at] - redis.call('LLEN', KEYS[at])), reset
end

local function level(at)
  local stored = redis.call('HMGET', KEYS[at], 'level', 'at')
  if not stored[1] then return limits[at] end
  local filled = math.max(0, now - tonumber(stored[2])) * limits[at] / WINDOW
  return math.min(limits[at], tonumber(stored[1]) + filled)
end

local function bucket_wait(at, tokens)
  if limits[at] == 0 then return 0 end
  return math.max(0, math.min(tokens, limits[at]) - level(at)) * WINDOW / limits[at]
end

local function bucket_take(at, tokens)
  if limits[at] == 0 then return end
  local left = math.min(limits[at], level(at) - tokens)
  redis.call('HSET', KEYS[at], 'level', text(left), 'at', text(now))
  redis.call('PEXPIRE', KEYS[at], math.ceil((limits[at] - left) * WINDOW / limits[at] / 1000) + 1000)
end

local function bucket_status(at)
  if limits[at] == 0 then return 0, 0 end
  local available = level(at)
  return math.max(0, math.floor(available)), (limits[at] - available) * WINDOW / limits[at]
end

local function renew_lease(seconds)
  redis.call('ZADD', KEYS[5], text(now + seconds * 1000000), lease)
  redis.call('PEXPIRE', KEYS[5], seconds * 1000 + 1000)
end

if operation == 'finish' then
  redis.call('ZREM', KEYS[5], lease)
  bucket_take(3, tonumber(ARGV[8]))
  bucket_take(4, tonumber(ARGV[9]))
  return 1
elseif operation == 'renew' then
  renew_lease(tonumber(ARGV[8]))
  return 1
end

local tokens = tonumber(ARGV[8])
local waits = { window_wait(1), window_wait(2), bucket_wait(3, tokens), bucket_wait(4, tokens), 0 }
if limits[5] > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', text(now))
  if redis.call('ZCARD', KEYS[5]) >= limits[5] then waits[5] = 1000000 end
end
local refused = 1
for at = 2, 5 do
  if waits[at] > waits[refused] then refused = at end
end
local wait = math.ceil(waits[refused])
if wait == 0 then
  refused = 0
  for at = 1, 2 do window_take(at) end
  for at = 3, 4 do bucket_take(at, math.min(tokens, limits[at])) end
  if limits[5] > 0 then renew_lease(tonumber(ARGV[9])) end
end
local reply = { refused, wait }
for at = 1, 4 do
  local remaining, reset
  if at <= 2 then remaining, reset = window_status(at) else remaining, reset = bucket_status(at) end
  reply[#reply + 1] = remaining
  reply[#reply + 1] = math.ceil(reset)
end
return reply
