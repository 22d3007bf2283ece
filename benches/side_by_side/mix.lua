-- wrk: requests of many kinds in turn, for mix.conf. All are answered with 2xx or 3xx.
local form = "name=value&canary=yes&" .. string.rep("x", 900)
local agents = { "Mozilla/5.0 (X11; Linux x86_64) bench", "curl/8.0", "bench" }
local requests, turn = {}, 0

local function add(method, path, fields, body)
    local headers = { ["User-Agent"] = agents[#requests % 3 + 1], ["Accept"] = "*/*" }
    for name, value in pairs(fields or {}) do headers[name] = value end
    headers["Host"] = "www.example.org"
    requests[#requests + 1] = wrk.format(method, path, headers, body)
end

function init()
    for id = 1, 20 do
        add("GET", "/cookie/" .. id, { Cookie = "a=1; canary=always; session=" .. id })
        add("GET", "/sticky/page?user=user-" .. id .. "&x=%20y")
        add("GET", "/re/stable/" .. id, { ["X-Canary-Version"] = "v2", Authorization = "Bearer x" })
        add("POST", "/body/form", { ["Content-Type"] = "application/x-www-form-urlencoded" }, form)
        add("GET", "/canary/16k", { ["Accept-Encoding"] = "gzip, br" })
        add("GET", "/canary/chunked-16k")
        add("GET", "/filter/" .. id)
        add("GET", "/text/some/words/" .. id .. "?a=b&c=d")
        add("GET", "/cookie/../cookie//" .. id .. "/%41", { Cookie = "canary=never" })
        add("PUT", "/body/small", {}, "0123456789")
    end
    add("GET", "/health")
    add("GET", "/old")
    add("GET", "/moved/1")
end

function request()
    turn = turn % #requests + 1
    return requests[turn]
end
