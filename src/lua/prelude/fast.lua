-- Common cases of functions that scripts call in loops, by LuaJIT's ffi: a trace goes through them.
-- What is not common, and every error, is the API's own function's, by a tail call, so that errors
-- name the script's own line.
local ngx, native = ...
local ffi = require("ffi")
local new_table = require("table.new")
local type, ffi_string, floor = type, ffi.string, math.floor
local setmetatable, nan = setmetatable, 0 / 0
local fast, registry = native.fast, debug.getregistry()
local vm, answer, half = fast.at, fast.answer, fast.half

local shared_get = half("shared_get", "void *, const char *, size_t, struct moongate_answer *")
local shared_store = half("shared_store",
    "void *, const char *, size_t, int, int, const char *, size_t, double, double")
local shared_incr = half("shared_incr",
    "void *, const char *, size_t, double, double, double, struct moongate_answer *")
local shared_ttl = half("shared_ttl", "void *, const char *, size_t, struct moongate_answer *")
local context = half("context", "void *")

-- ngx.shared: dictionaries are known by their tables.
local methods, zones = native.shared, {}
for _, dict in pairs(ngx.shared) do
    zones[dict] = ffi.cast("void *", dict[1])
end

local get = methods.get
function methods.get(self, key)
    local zone = zones[self]
    if zone and type(key) == "string" then
        local kind = shared_get(zone, key, #key, answer)
        if kind == 0 then
            return nil
        elseif kind > 0 then
            local flags, value = answer.flags, nil
            if kind == 1 then
                value = ffi_string(answer.text, answer.length)
            elseif kind == 2 then
                value = answer.number
            else
                value = kind == 4
            end
            if flags ~= 0 then
                return value, flags
            end
            return value
        end
    end
    return get(self, key)
end

local faults = { [2] = "no memory", [4] = "exists", [6] = "not found" }

local function storing(name, number)
    local store = methods[name]
    methods[name] = function(self, key, value, seconds, flags)
        local zone = zones[self]
        if zone and flags == nil and type(key) == "string" then
            if seconds == nil then
                seconds = 0
            end
            if type(seconds) == "number" and seconds >= 0 then
                local kind, code = type(value), -1
                if kind == "string" then
                    code = shared_store(zone, key, #key, number, 1, value, #value, 0, seconds)
                elseif kind == "number" then
                    code = shared_store(zone, key, #key, number, 2, "", 0, value, seconds)
                elseif kind == "boolean" then
                    kind = value and 4 or 3
                    code = shared_store(zone, key, #key, number, kind, "", 0, 0, seconds)
                end
                if code >= 0 then
                    local forcible = code % 2 == 1
                    if code < 2 then
                        return true, nil, forcible
                    end
                    return false, faults[code - code % 2], forcible
                end
            end
        end
        return store(self, key, value, seconds, flags)
    end
end

storing("set", 0)
storing("safe_set", 1)
storing("add", 2)
storing("safe_add", 3)
storing("replace", 4)

local delete = methods.delete
function methods.delete(self, key)
    local zone = zones[self]
    if zone and type(key) == "string" then
        local code = shared_store(zone, key, #key, 0, 0, "", 0, 0, 0)
        if code == 0 or code == 1 then
            return true, nil, code == 1
        end
    end
    return delete(self, key)
end

local ttl = methods.ttl
function methods.ttl(self, key)
    local zone = zones[self]
    if zone and type(key) == "string" and shared_ttl(zone, key, #key, answer) == 0 then
        return answer.number
    end
    return ttl(self, key)
end

local incr = methods.incr
function methods.incr(self, key, step, init, seconds)
    local zone = zones[self]
    if zone and type(key) == "string" and type(step) == "number" then
        if init == nil and seconds == nil then
            if shared_incr(zone, key, #key, step, nan, 0, answer) == 0 then
                return answer.number
            end
        elseif type(init) == "number" and init == init
            and (seconds == nil or type(seconds) == "number" and seconds >= 0)
        then
            local code = shared_incr(zone, key, #key, step, init, seconds or 0, answer)
            if code >= 0 then
                return answer.number, nil, code == 1
            end
        end
    end
    return incr(self, key, step, init, seconds)
end

-- ngx.ctx: the request's table is found in the registry.
local getters = native.getters
local make_context = getters.ctx
function getters.ctx()
    local place = context(vm)
    if place > 0 then
        return registry[place]
    end
    return make_context()
end

-- The request's fields and arguments.
local function filled(groups, count)
    local serial, at = answer.serial, 0
    for number = 0, count - 1 do
        local length, value = answer.lengths[2 * number + 1], true
        local name = ffi_string(answer.text + at, answer.lengths[2 * number])
        at = at + #name
        if length ~= 65535 then
            value = ffi_string(answer.text + at, length)
            at = at + length
        end
        local known = groups[name]
        if known == nil then
            groups[name] = value
        elseif type(known) == "table" then
            known[#known + 1] = value
        else
            groups[name] = { known, value }
        end
    end
    return answer.serial == serial
end

local request_headers = half("headers", "void *, struct moongate_answer *")
local get_headers, headers_meta = ngx.req.get_headers, native.headers_meta
function ngx.req.get_headers(max, raw)
    if max == nil and raw == nil then
        local count = request_headers(vm, answer)
        if count >= 0 then
            local headers = new_table(0, count)
            if filled(headers, count) then
                return setmetatable(headers, headers_meta)
            end
        end
    end
    return get_headers(max, raw)
end

local request_arguments = half("arguments", "void *, struct moongate_answer *")
local get_uri_args = ngx.req.get_uri_args
function ngx.req.get_uri_args(max, given)
    if max == nil and given == nil then
        local count = request_arguments(vm, answer)
        if count >= 0 then
            local arguments = new_table(0, 4)
            if filled(arguments, count) then
                return arguments
            end
        end
    end
    return get_uri_args(max, given)
end

-- Encodings.
local function encoder(name, encode)
    local slow = ngx[name]
    encode = half(encode, "const char *, size_t, struct moongate_answer *")
    ngx[name] = function(text, option)
        if option == nil and type(text) == "string" and encode(text, #text, answer) == 0 then
            return ffi_string(answer.text, answer.length)
        end
        return slow(text, option)
    end
end

encoder("escape_uri", "escape_uri")
encoder("unescape_uri", "unescape_uri")
encoder("encode_base64", "encode_base64")
encoder("decode_base64", "decode_base64")
encoder("md5", "md5")
encoder("md5_bin", "md5_bin")
encoder("sha1_bin", "sha1_bin")

local decode = half("decode_args", "const char *, size_t, struct moongate_answer *")
local decode_args = ngx.decode_args
function ngx.decode_args(...)
    local text, max = ...
    if max == nil and type(text) == "string" then
        local count = decode(text, #text, answer)
        if count >= 0 then
            local arguments = new_table(0, count)
            if filled(arguments, count) then
                return arguments
            end
        end
    end
    return decode_args(...)
end

-- Times: those of the thread's clock.
local now_ms = ffi.cast("double (*)()", fast.now_ms)
function ngx.now()
    return now_ms() / 1000
end

function ngx.time()
    return floor(now_ms() / 1000)
end

local update_time = ffi.cast("void (*)()", fast.update_time)
function ngx.update_time()
    update_time()
end

local local_time, localtime = half("localtime", "struct moongate_answer *"), ngx.localtime
function ngx.localtime()
    if local_time(answer) == 0 then
        return ffi_string(answer.text, answer.length)
    end
    return localtime()
end

local make_http_time = half("http_time", "double, struct moongate_answer *")
local http_time = ngx.http_time
function ngx.http_time(seconds)
    if type(seconds) == "number" and make_http_time(seconds, answer) == 0 then
        return ffi_string(answer.text, answer.length)
    end
    return http_time(seconds)
end

local parse = half("parse_http_time", "const char *, size_t, struct moongate_answer *")
local parse_http_time = ngx.parse_http_time
function ngx.parse_http_time(text)
    if type(text) == "string" and parse(text, #text, answer) == 0 then
        return answer.number
    end
    return parse_http_time(text)
end

-- Variables, fields of the response, and what else is read of the request.
local var_get = half("var_get", "void *, const char *, struct moongate_answer *")
local var_set = half("var_set", "void *, const char *, const char *, size_t")
local vars = getmetatable(ngx.var)
local get_var, set_var = vars.__index, vars.__newindex
function vars.__index(self, name)
    if type(name) == "string" then
        local code = var_get(vm, name, answer)
        if code == 1 then
            return ffi_string(answer.text, answer.length)
        elseif code == 0 then
            return nil
        end
    end
    return get_var(self, name)
end

function vars.__newindex(self, name, value)
    if type(name) == "string" and type(value) == "string"
        and var_set(vm, name, value, #value) == 0
    then
        return
    end
    return set_var(self, name, value)
end

local header_get = half("header_get", "void *, const char *, size_t, struct moongate_answer *")
local header_set = half("header_set", "void *, const char *, size_t, const char *, size_t")
local fields = getmetatable(ngx.header)
local get_field, set_field = fields.__index, fields.__newindex
function fields.__index(self, name)
    if type(name) == "string" then
        local code = header_get(vm, name, #name, answer)
        if code == 1 then
            return ffi_string(answer.text, answer.length)
        elseif code == 0 then
            return nil
        end
    end
    return get_field(self, name)
end

function fields.__newindex(self, name, value)
    if type(name) == "string" and type(value) == "string"
        and header_set(vm, name, #name, value, #value) == 0
    then
        return
    end
    return set_field(self, name, value)
end

local status, get_status = half("status", "void *"), getters.status
function getters.status()
    local number = status(vm)
    if number >= 0 then
        return number
    end
    return get_status()
end

local method, get_method = half("method", "void *, struct moongate_answer *"), ngx.req.get_method
local method_names = { "GET", "POST", "HEAD" }
function ngx.req.get_method()
    local code = method(vm, answer)
    if code > 0 then
        return method_names[code]
    elseif code == 0 then
        return ffi_string(answer.text, answer.length)
    end
    return get_method()
end

local request_set = half("request_header_set",
    "void *, const char *, size_t, const char *, size_t")
local set_header = ngx.req.set_header
function ngx.req.set_header(...)
    local name, value = ...
    if type(name) == "string" and type(value) == "string"
        and request_set(vm, name, #name, value, #value) == 0
    then
        return
    end
    return set_header(...)
end

local phase, get_phase, phases = half("phase", "void *"), ngx.get_phase, {}
function ngx.get_phase()
    local number = phase(vm)
    local name = phases[number]
    if not name then
        name = get_phase()
        phases[number] = name
    end
    return name
end
