-- Answers with the nanoseconds of CPU that one call costs: `/NAME?n=COUNT`.
local dict = ngx.shared.bench
dict:set("number", 1)
dict:set("text", "some value of no great length")
local md5, match, find, gsub = ngx.md5, ngx.re.match, ngx.re.find, ngx.re.gsub
local line = "GET /api/users/42/orders?id=17 HTTP/1.1"
local escaped, encoded = ngx.escape_uri(line), ngx.encode_base64(line)
local query = { first = 1, second = "two", third = "a b" }

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
    ["shared.get number"] = function() return dict:get("number") end,
    ["shared.get nothing"] = function() return dict:get("nothing") end,
    ["shared.set"] = function() return dict:set("other", 17) end,
    ["shared.set text"] = function() return dict:set("other", line) end,
    ["shared.set expiring"] = function() return dict:set("other", line, 60) end,
    ["shared.add"] = function() return dict:add("number", 1) end,
    ["shared.delete"] = function() return dict:delete("nothing") end,
    ["shared.incr"] = function() return dict:incr("number", 1) end,
    ["shared.incr initial"] = function() return dict:incr("counted", 1, 0) end,
    ["shared.ttl"] = function() return dict:ttl("number") end,
    ["shared.push and pop"] = function() dict:rpush("list", 1) return dict:lpop("list") end,
    ["re.match"] = function() return match(line, [[^\w+ /api/(\w+)/(\d+)]], "jo") end,
    ["re.match named"] = function() return match(line, [[/api/(?<kind>\w+)/(?<id>\d+)]], "jo") end,
    ["re.match nothing"] = function() return match(line, [[^POST (\S+)]], "jo") end,
    ["re.find"] = function() return find(line, [[id=\d+]], "jo") end,
    ["re.find nth"] = function() return find(line, [[id=(\d+)]], "jo", nil, 1) end,
    ["re.gmatch"] = function()
        for found in ngx.re.gmatch(line, [[\d+]], "jo") do query.id = found[0] end
    end,
    ["re.sub"] = function() return ngx.re.sub(line, [[id=(\d+)]], "id=$1", "jo") end,
    ["re.gsub"] = function() return gsub(line, [[\d+]], "N", "jo") end,
    ["re.gsub function"] = function()
        return gsub(line, [[\d+]], function(found) return found[0] end, "jo")
    end,
    ["var.get"] = function() return ngx.var.http_x_canary_version end,
    ["var.get uri"] = function() return ngx.var.uri end,
    ["var.get remote_addr"] = function() return ngx.var.remote_addr end,
    ["var.set"] = function() ngx.var.chosen = "v2" end,
    ["req.get_headers"] = function() return ngx.req.get_headers() end,
    ["req.get_headers one"] = function() return ngx.req.get_headers()["User-Agent"] end,
    ["req.get_uri_args"] = function() return ngx.req.get_uri_args() end,
    ["req.get_method"] = function() return ngx.req.get_method() end,
    ["req.set_header"] = function() ngx.req.set_header("X-Chosen", "v2") end,
    ["header.get"] = function() return ngx.header["X-Answer"] end,
    ["header.set"] = function() ngx.header["X-Answer"] = "v2" end,
    ["status"] = function() return ngx.status end,
    ["get_phase"] = function() return ngx.get_phase() end,
    ["ctx"] = function() ngx.ctx.user = 1 return ngx.ctx.user end,
    ["now"] = function() return ngx.now() end,
    ["time"] = function() return ngx.time() end,
    ["update_time"] = function() return ngx.update_time() end,
    ["http_time"] = function() return ngx.http_time(1700000000) end,
    ["parse_http_time"] = function()
        return ngx.parse_http_time("Tue, 14 Nov 2023 22:13:20 GMT")
    end,
    ["localtime"] = function() return ngx.localtime() end,
    ["escape_uri"] = function() return ngx.escape_uri(line) end,
    ["unescape_uri"] = function() return ngx.unescape_uri(escaped) end,
    ["encode_args"] = function() return ngx.encode_args(query) end,
    ["decode_args"] = function() return ngx.decode_args("first=1&second=two&third=a%20b") end,
    ["encode_base64"] = function() return ngx.encode_base64(line) end,
    ["decode_base64"] = function() return ngx.decode_base64(encoded) end,
    ["md5"] = function() return md5(line) end,
    ["md5_bin"] = function() return ngx.md5_bin(line) end,
    ["sha1_bin"] = function() return ngx.sha1_bin(line) end,
    ["hmac_sha1"] = function() return ngx.hmac_sha1("key", line) end,
    ["crc32_short"] = function() return ngx.crc32_short(line) end,
    ["quote_sql_str"] = function() return ngx.quote_sql_str(line) end,
    ["string.find"] = function() return string.find(line, "id=(%d+)") end,
    ["string.gsub"] = function() return string.gsub(line, "%d+", "N") end,
}

-- A connection to the bench's own peer.
local function talk()
    local peer = ngx.socket.tcp()
    assert(peer:connect("127.0.0.1", tonumber(ngx.var.arg_peer)))
    return peer
end

-- Of a cosocket: what is there is read, or a little is written, or a line goes there and back.
local blocks = {
    ["cosocket.receive line"] = function(count)
        local peer = talk()
        assert(peer:send("lines " .. count .. "\n"))
        return function() return assert(peer:receive()) end
    end,
    ["cosocket.receive bytes"] = function(count)
        local peer = talk()
        assert(peer:send("lines " .. count .. "\n"))
        return function() return assert(peer:receive(40)) end
    end,
    ["cosocket.send"] = function()
        local peer = talk()
        return function() return assert(peer:send("x")) end
    end,
    ["cosocket.round trip"] = function()
        local peer = talk()
        return function()
            assert(peer:send("echo\n"))
            return assert(peer:receive())
        end
    end,
}

local name = ngx.unescape_uri(string.sub(ngx.var.uri, 2))
local count = tonumber(ngx.var.arg_n)
local case = cases[name]
if not case then
    case = blocks[name](count * 2)
end

-- A loop of its own for each request, else the traces of one case would be in another's way.
local loop = loadstring(string.dump(function(times, body)
    for _ = 1, times do body() end
end))
loop(count / 10, case)
local start = os.clock()
loop(count, case)
ngx.say((os.clock() - start) / count * 1e9)
