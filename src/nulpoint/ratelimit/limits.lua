-- The limits of nulpoint, decided in one place and at one time: that of Redis. The arithmetic is that of
-- ratelimit/limiter.py. Times are whole microseconds since 1970, which a double holds exactly.
--
-- KEYS: requests of all, requests of the caller (lists of times); tokens of all, tokens of the caller (hashes with a
--       level and its time); requests of the caller under way (a sorted set of leases by their end).
-- ARGV: what to do, lease, then five numbers in the order of KEYS.
--   admit: the limits (0: none), then tokens, seconds of a lease
--   settle: 0, 0, the limits of both buckets, 0, then what to take from each bucket
--   renew: ignored, then seconds of a lease
local WINDOW = 60 * 1000000
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local what, lease = ARGV[1], ARGV[2]
local limits = {}
for at = 1, 5 do limits[at] = tonumber(ARGV[2 + at]) end

local function text(number) return string.format('%.17g', number) end

-- Microseconds until one more request may be taken. A few old times go, so that the list keeps no more than it must;
-- the answer does not depend on it.
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

local function window_standing(at)
  if limits[at] == 0 then return 0, 0 end
  local newest = redis.call('LINDEX', KEYS[at], -1)
  local reset = newest and math.max(0, tonumber(newest) + WINDOW - now) or 0
  return math.max(0, limits[at] - redis.call('LLEN', KEYS[at])), reset
end

local function level(at)
  local held = redis.call('HMGET', KEYS[at], 'level', 'at')
  if not held[1] then return limits[at] end
  local filled = math.max(0, now - tonumber(held[2])) * limits[at] / WINDOW
  return math.min(limits[at], tonumber(held[1]) + filled)
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

local function bucket_standing(at)
  if limits[at] == 0 then return 0, 0 end
  local there = level(at)
  return math.max(0, math.floor(there)), (limits[at] - there) * WINDOW / limits[at]
end

local function hold(seconds)
  redis.call('ZADD', KEYS[5], text(now + seconds * 1000000), lease)
  redis.call('PEXPIRE', KEYS[5], seconds * 1000 + 1000)
end

if what == 'settle' then
  redis.call('ZREM', KEYS[5], lease)
  bucket_take(3, tonumber(ARGV[8]))
  bucket_take(4, tonumber(ARGV[9]))
  return 1
elseif what == 'renew' then
  hold(tonumber(ARGV[8]))
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
  if limits[5] > 0 then hold(tonumber(ARGV[9])) end
end
local reply = { refused, wait }
for at = 1, 4 do
  local remaining, reset
  if at <= 2 then remaining, reset = window_standing(at) else remaining, reset = bucket_standing(at) end
  reply[#reply + 1] = remaining
  reply[#reply + 1] = math.ceil(reset)
end
return reply
