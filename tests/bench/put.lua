-- PUT of 256-byte values under random keys, for wrk: an own sequence for each thread.
local value = string.rep("v", 256)
local threads = 0

function setup(thread)
    thread:set("seed", os.time() + threads)
    threads = threads + 1
end

function init(args)
    math.randomseed(seed)
    keys = tonumber(args[1]) or 100000
    wrk.headers["Content-Length"] = "256"
end

function request()
    return wrk.format("PUT", "/db/bench-" .. math.random(keys), nil, value)
end
