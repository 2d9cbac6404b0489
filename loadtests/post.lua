-- The contact form, 6 fields, each post from another visitor behind one trusted proxy.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.body = "name=Ada+Lovelace&email=ada%40example.com&company=Analytical+Engines+Ltd"
  .. "&subject=A+question+about+your+product&message=Hello%2C+I+would+like+to+know+more+about+the"
  .. "+difference+engine+and+whether+it+can+be+delivered+to+London+before+the+end+of+the+year."
  .. "+With+kind+regards%2C+Ada&consent=yes"

local posts = 0

request = function()
  posts = posts + 1
  local b, c, d = math.floor(posts / 65536) % 256, math.floor(posts / 256) % 256, posts % 256
  wrk.headers["X-Forwarded-For"] = "203." .. b .. "." .. c .. "." .. d
  if posts % 10 == 0 then
    wrk.headers["Idempotency-Key"] = "post-" .. posts
  else
    wrk.headers["Idempotency-Key"] = nil
  end
  return wrk.format()
end

done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"seconds":%.3f,"p50_ms":%.3f,"p99_ms":%.3f,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000,
    latency:percentile(99) / 1000, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
