-- Linearizable GET of random keys that put.lua may have written, for wrk.
local threads = 0

function setup(thread)
    thread:set("seed", os.time() + threads)
    threads = threads + 1
end

function init(args)
    math.randomseed(seed)
    keys = tonumber(args[1]) or 100000
end

function request()
    return wrk.format("GET", "/db/bench-" .. math.random(keys))
end
