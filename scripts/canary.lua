-- Canary routing for operators: who gets the new version?
--
--     local canary = require "canary"
--     local version, reason = canary.by_header("X-Canary-Version", { v2 = "canary" })
--
-- Every rule gives a value (usually an upstream's name) and the reason for the log, or nothing when
-- it has no opinion; "or" and the first rule that says something decide. It uses OpenResty's API
-- alone, so that the same file runs there and on Moongate.

local bit = require "bit"

local band, byte, char, concat = bit.band, string.byte, string.char, table.concat
local gmatch, sub, tonumber = string.gmatch, string.sub, tonumber

local _M = {}

-- The value that `values` has for the header `name`: { v2 = "canary", never = "stable" }.
function _M.by_header(name, values)
    local value = ngx.req.get_headers()[name]
    if type(value) == "table" then
        value = value[1]
    end
    local found = value and values[value]
    if found then
        return found, "header " .. name
    end
end

-- The same for a cookie, whatever characters its name has.
function _M.by_cookie(name, values)
    local value = ngx.var["cookie_" .. name]
    local found = value and values[value]
    if found then
        return found, "cookie " .. name
    end
end

-- `value` for `percent` of all requests, drawn each time.
function _M.by_weight(percent, value)
    if math.random() * 100 < percent then
        return value, "weight " .. percent .. "%"
    end
end

-- `value` for `percent` of all keys, always the same ones: raising it only adds keys. `salt` (the
-- name of the release, say) makes another selection; without a key there is no opinion.
function _M.by_hash(key, percent, value, salt)
    if key and key ~= "" and ngx.crc32_short((salt or "") .. key) % 10000 < percent * 100 then
        return value, "hash " .. percent .. "%"
    end
end

-- The bytes of an IPv4 or IPv6 address, nothing if it is none.
local function parse_v4(text)
    local a, b, c, d = text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
    a, b, c, d = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
    if a and a < 256 and b < 256 and c < 256 and d < 256 then
        return char(a, b, c, d)
    end
end

local function parse_groups(text)
    local bytes, count = {}, 0
    if text == "" then
        return "", 0
    end
    for group in gmatch(text .. ":", "([^:]*):") do
        local number = #group <= 4 and tonumber(group, 16)
        if not number then
            return nil
        end
        count = count + 1
        bytes[count] = char((number - number % 256) / 256, number % 256)
    end
    return concat(bytes), count
end

local function parse_v6(text)
    local head, tail = text:match("^(.-)::(.*)$")
    local first, count = parse_groups(head or text)
    if not head then
        return count == 8 and first or nil
    end
    local last, more = parse_groups(tail)
    if first and last and count + more < 8 then
        return first .. ("\0"):rep(2 * (8 - count - more)) .. last
    end
end

function _M.parse_address(text)
    if text:find(":", 1, true) then
        return parse_v6(text)
    end
    return parse_v4(text)
end

local function in_network(address, network)
    local bytes, bits = network.bytes, network.bits
    if #address ~= #bytes then
        return false
    end
    local whole = (bits - bits % 8) / 8
    if sub(address, 1, whole) ~= sub(bytes, 1, whole) then
        return false
    end
    local mask = 256 - 2 ^ (8 - bits % 8)
    return bits % 8 == 0
        or band(byte(address, whole + 1), mask) == band(byte(bytes, whole + 1), mask)
end

-- A list of addresses and networks ("10.0.0.0/8", "::1"), made once, in init_by_lua or at the top
-- of a module. What is neither is an error at once, not a surprise later.
function _M.networks(list)
    local networks = {}
    for i, text in ipairs(list) do
        local address, bits = text:match("^([^/]+)/(%d+)$")
        local bytes = _M.parse_address(address or text)
        bits = bits and tonumber(bits) or bytes and #bytes * 8
        if not bytes or bits > #bytes * 8 then
            error("not an address or network: " .. text, 2)
        end
        networks[i] = { bytes = bytes, bits = bits }
    end
    return networks
end

-- `value` for clients whose address is in `networks`.
function _M.by_address(address, networks, value)
    local bytes = address and _M.parse_address(address)
    for _, network in ipairs(bytes and networks or {}) do
        if in_network(bytes, network) then
            return value, "address"
        end
    end
end

-- `value` for clients of at least version `minimum` ("2.5"), by the first two numbers that `regex`
-- captures from the User-Agent: [[MyApp/(\d+)\.(\d+)]].
function _M.by_client(regex, minimum, value)
    local found = ngx.re.match(ngx.var.http_user_agent or "", regex, "ijo")
    local major, minor = minimum:match("^(%d+)%.(%d+)$")
    if not found or not major then
        return
    end
    local distance = tonumber(found[1]) - tonumber(major)
    if distance > 0 or distance == 0 and tonumber(found[2]) >= tonumber(minor) then
        return value, "client " .. found[0]
    end
end

-- For balancer_by_lua: the next of `peers` ("127.0.0.1:9101"), each once; what fails to answer is
-- tried no second time for this request.
function _M.balance(peers)
    local balancer = require "ngx.balancer"
    local tried = ngx.ctx.canary_tried or 0
    if tried == 0 and #peers > 1 then
        local ok, err = balancer.set_more_tries(#peers - 1)
        if not ok then
            ngx.log(ngx.ERR, "no more tries: ", err)
        elseif err then
            ngx.log(ngx.WARN, err)
        end
    end
    ngx.ctx.canary_tried = tried + 1
    local host, port = peers[tried + 1]:match("^(.*):(%d+)$")
    local ok, err = balancer.set_current_peer(host, tonumber(port))
    if not ok then
        ngx.log(ngx.ERR, "no peer: ", err)
        return ngx.exit(ngx.ERROR)
    end
end

return _M
