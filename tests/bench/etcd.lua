-- What put.lua and get.lua ask, asked of etcd: its HTTP gateway takes JSON with keys and values in base64. With a second
-- argument "get" it reads, linearizably as etcd does by default. For wrk.
local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local threads = 0

local function base64(text)
    local out = {}
    for i = 1, #text, 3 do
        local a, b, c = text:byte(i, i + 2)
        local n = a * 65536 + (b or 0) * 256 + (c or 0)
        for k = 3, 0, -1 do
            local digit = math.floor(n / 64 ^ k) % 64 + 1
            out[#out + 1] = (k == 0 and not c or k == 1 and not b) and "=" or digits:sub(digit, digit)
        end
    end
    return table.concat(out)
end

function setup(thread)
    thread:set("seed", os.time() + threads)
    threads = threads + 1
end

function init(args)
    math.randomseed(seed)
    keys = tonumber(args[1]) or 100000
    reads = args[2] == "get"
    value = base64(string.rep("v", 256))
end

function request()
    local key = base64("bench-" .. math.random(keys))
    if reads then
        return wrk.format("POST", "/v3/kv/range", nil, '{"key":"' .. key .. '"}')
    end
    return wrk.format("POST", "/v3/kv/put", nil, '{"key":"' .. key .. '","value":"' .. value .. '"}')
end
