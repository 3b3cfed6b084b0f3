-- Prints what a contestant prints. wrk counts in microseconds; requests that failed are not in the checksum.
function done(summary, latency, requests)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   io.write(string.format(
      "reps %d checksum %d per-second %.3f p50 %d p99 %d p99.9 %d worst %d\n",
      summary.requests, summary.requests - failed, summary.requests / (summary.duration / 1e6),
      latency:percentile(50) * 1000, latency:percentile(99) * 1000,
      latency:percentile(99.9) * 1000, latency.max * 1000))
end
