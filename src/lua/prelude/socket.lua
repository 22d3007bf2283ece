-- ngx.socket: objects of the native methods, as lua-nginx-module shapes them.
local ngx, native = ...
local socket = native.socket
local new_tcp, new_udp, handshake = socket.new_tcp, socket.new_udp, socket.sslhandshake
local receive_until = socket.receive_until
local tcp_methods, udp_methods = socket.tcp, socket.udp
local select, error, type, tonumber = select, error, type, tonumber

tcp_methods.__index = tcp_methods
udp_methods.__index = udp_methods
-- Where lua-resty-core and others look for it.
debug.getregistry().__tcp_cosocket_mt = tcp_methods

local function tcp(...)
    return new_tcp(tcp_methods, ...)
end

ngx.socket = {
    tcp = tcp,
    stream = tcp,
    udp = function(...)
        return new_udp(udp_methods, ...)
    end,
    connect = function(...)
        local sock = tcp()
        local ok, err = sock:connect(...)
        if ok then
            return sock
        end
        return nil, err
    end,
}

-- The client's connection: its body, or all of it.
local new_client = socket.new_client
local body_methods, raw_methods = {}, {}
for _, name in ipairs { "receive", "receiveany", "receiveuntil", "settimeout", "settimeouts" } do
    body_methods[name], raw_methods[name] = tcp_methods[name], tcp_methods[name]
end
raw_methods.send = tcp_methods.send
body_methods.__index, raw_methods.__index = body_methods, raw_methods

function ngx.req.socket(...)
    return new_client(body_methods, raw_methods, ...)
end

-- What `receiveuntil` gives.
socket.set_iterator(function(sock, state)
    return function(...)
        return receive_until(sock, state, ...)
    end
end)

-- A session is a pointer to scripts: the number under which the native side keeps it.
local ffi, pointer, free

local function session_of(number)
    if number == 0 then
        return ffi.cast(pointer, 0)
    end
    return ffi.gc(ffi.cast(pointer, number), free)
end

-- What a socket shows for itself, where it is asked: fields of its object.
local chain_of, key_of = 2, 3
local chain_at, key_at = native.ssl.chain_at, native.ssl.key_at

function tcp_methods.setclientcert(cosocket, chain, key)
    if not chain and not key then
        cosocket[chain_of], cosocket[key_of] = nil, nil
        return true
    end
    if not chain or not key then
        return nil, "client certificate must be supplied with corresponding private key"
    end
    if type(chain) ~= "cdata" then
        return nil, "bad cert arg: cdata expected, got " .. type(chain)
    end
    if type(key) ~= "cdata" then
        return nil, "bad pkey arg: cdata expected, got " .. type(key)
    end
    local cast = require("ffi").cast
    cosocket[chain_of] = chain_at(tonumber(cast("uintptr_t", chain)))
    cosocket[key_of] = key_at(tonumber(cast("uintptr_t", key)))
    return true
end

function tcp_methods.sslhandshake(cosocket, session, server_name, verify, ocsp, ...)
    local n = select("#", ...)
    if not cosocket or n > 0 then
        error(
            "ngx.socket sslhandshake: expecting 1 ~ 5 arguments (including the object), but seen "
                .. (cosocket and 5 + n or 0)
        )
    end
    if not ffi then
        ffi = require "ffi"
        pointer = ffi.typeof "void *"
        local number = ffi.typeof "uintptr_t"
        local free_session = socket.free_session
        free = function(it)
            free_session(tonumber(ffi.cast(number, it)))
        end
    end
    local number = 0
    if type(session) == "cdata" then
        number = tonumber(ffi.cast("uintptr_t", session))
    end
    -- A cdata would be like any boolean.
    local wants_session = type(session) ~= "boolean" or session
    local chain, key = cosocket[chain_of], cosocket[key_of]
    local found, err =
        handshake(cosocket, number, server_name, verify, ocsp, wants_session, chain, key)
    if not found then
        return nil, err
    end
    if found == true then
        return session
    end
    return not wants_session or session_of(found)
end
