-- One target for wrk, written as a proxy wants it, and the result as one line of JSON.
-- Usage: wrk -s wrk.lua URL -- TARGET HOST. The URL says where to connect.
function init(args)
    wrk.path = args[1]
    wrk.headers["Host"] = args[2]
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '{"answered":%d,"microseconds":%d,"bytes":%d,"p50":%d,"p99":%d,"status":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d}\n',
        summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
        errors.status, errors.connect, errors.read, errors.write, errors.timeout
    ))
end
