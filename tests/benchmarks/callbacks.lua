-- wrk: sends the requests of a file, each once. Every thread has its own share of them.
-- Arguments: the file, the length of one request in bytes, the number of requests per thread, and the mean pause of a
-- connection before each of its requests in milliseconds.

local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(arguments)
  length, left = tonumber(arguments[2]), tonumber(arguments[3])
  requests = assert(io.open(arguments[1], "rb"))
  requests:setvbuf("full", 1048576)
  requests:seek("set", number * left * length)
  exhausted, last = 0, nil
  local pause = tonumber(arguments[4])
  if pause > 0 then
    math.randomseed(os.time() + number)
    -- wrk calls the function, if there is one, before each request. Callbacks come at random times.
    delay = function()
      return math.floor(-math.log(1 - math.random()) * pause + 0.5)
    end
  end
end

function request()
  if left == 0 then
    -- wrk needs a request even from a thread that stops; nobody reads the response to this duplicate.
    exhausted = 1
    wrk.thread:stop()
    return last
  end
  left = left - 1
  last = requests:read(length)
  return last
end

function done(summary, latency)
  local exhausted = 0
  for _, thread in ipairs(threads) do
    exhausted = exhausted + (thread:get("exhausted") or 0)
  end
  local errors = summary.errors
  print(string.format(
    '{"responses": %d, "seconds": %f, "refused": %d, "unconnected": %d, "unread": %d, "unwritten": %d, "late": %d, '
      .. '"exhausted": %d, "p50_ms": %f, "p99_ms": %f}',
    summary.requests, summary.duration / 1e6, errors.status, errors.connect, errors.read, errors.write, errors.timeout,
    exhausted, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
