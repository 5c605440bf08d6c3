-- The load, for wrk: the people of a file call in turn, each with their own token. Arguments: the file with a token a
-- line, and the one with the call. Prints one JSON line at the end.

local requests, turn = {}, 0

function init(arguments)
  local file = assert(io.open(arguments[2], "rb"))
  local method = file:read("*l")
  local headers = {}
  for line in file:lines() do
    if line == "" then break end
    local name, value = line:match("^([^:]+): (.*)$")
    headers[name] = value
  end
  local body = file:read("*a")
  if body == "" then body = nil end
  for token in io.lines(arguments[1]) do
    headers["Authorization"] = "Bearer " .. token
    requests[#requests + 1] = wrk.format(method, nil, headers, body)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"answers":%d,"micros":%d,"p50":%d,"p99":%d,"failed":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
