-- PUT of new keys with values of 1 to 4 KB, for wrk: fills the map. Arguments: a name for this run, so that another run's
-- keys are others.
local text = {}
local threads = 0

function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

function init(args)
    local piece = {}
    math.randomseed(number)
    for i = 1, 4096 do piece[i] = string.char(math.random(33, 126)) end
    text = table.concat(piece)
    prefix = "/db/fill-" .. args[1] .. "-" .. number .. "-"
    count = 0
end

function request()
    local size = math.random(1024, 4096)

    count = count + 1
    return wrk.format("PUT", prefix .. count, {["Content-Length"] = size}, text:sub(1, size))
end
