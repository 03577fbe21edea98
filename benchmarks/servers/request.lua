-- Sends one body over and over: wrk ... -s request.lua URL -- BODY_FILE "Name: value" ...
-- There is no request() or response() here: wrk then builds the request once and runs no Lua for
-- each, and it counts statuses from 400 on by itself.

function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.body = file:read("*a")
  file:close()
  wrk.method = "POST"
  for i = 2, #args do
    local name, value = args[i]:match("^([^:]+): (.*)$")
    wrk.headers[name] = value
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\nSUMMARY {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, ' ..
    '"refused": %d, "lost": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
