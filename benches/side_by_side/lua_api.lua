-- Answers with the nanoseconds of CPU that one call costs: `/NAME?n=COUNT`.
local dict = ngx.shared.bench
dict:set("number", 1)
dict:set("text", "some value of no great length")
local md5, match, find, gsub = ngx.md5, ngx.re.match, ngx.re.find, ngx.re.gsub
local line = "GET /api/users/42/orders?id=17 HTTP/1.1"

local port = tonumber(string.match(ngx.var.origin, ":(%d+)"))
local question = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

-- A request to the origin over a kept connection.
local function ask()
    local socket = ngx.socket.tcp()
    assert(socket:connect("127.0.0.1", port))
    assert(socket:send(question))
    assert(socket:receiveuntil("\r\n\r\n")())
    local body = assert(socket:receive(17))
    assert(body == "hello, stable v1\n", body)
    assert(socket:setkeepalive(10000, 10))
end

local cases = {
    ["cosocket"] = ask,
    ["shared.get"] = function() return dict:get("text") end,
    ["shared.set"] = function() return dict:set("other", 17) end,
    ["shared.incr"] = function() return dict:incr("number", 1) end,
    ["re.match"] = function() return match(line, [[^\w+ /api/(\w+)/(\d+)]], "jo") end,
    ["re.find"] = function() return find(line, [[id=\d+]], "jo") end,
    ["re.gsub"] = function() return gsub(line, [[\d+]], "N", "jo") end,
    ["var.get"] = function() return ngx.var.http_x_canary_version end,
    ["req.get_headers"] = function() return ngx.req.get_headers() end,
    ["req.get_uri_args"] = function() return ngx.req.get_uri_args() end,
    ["ctx"] = function() ngx.ctx.user = 1 return ngx.ctx.user end,
    ["escape_uri"] = function() return ngx.escape_uri(line) end,
    ["encode_base64"] = function() return ngx.encode_base64(line) end,
    ["md5"] = function() return md5(line) end,
    ["string.find"] = function() return string.find(line, "id=(%d+)") end,
    ["string.gsub"] = function() return string.gsub(line, "%d+", "N") end,
}

local case = cases[string.sub(ngx.var.uri, 2)]
local count = tonumber(ngx.var.arg_n)
for _ = 1, count / 10 do case() end
local start = os.clock()
for _ = 1, count do case() end
ngx.say((os.clock() - start) / count * 1e9)
