-- Common cases of functions that scripts call in loops, by LuaJIT's ffi: a trace goes through them.
-- What is not common, and every error, is the API's own function's, by a tail call, so that errors
-- name the script's own line.
local ngx, native = ...
local ffi = require("ffi")
local new_table = require("table.new")
local type, sub, cast, ffi_string = type, string.sub, ffi.cast, ffi.string
local setmetatable = setmetatable
local fast, registry = native.fast, debug.getregistry()
local vm = cast("void *", fast.vm)

ffi.cdef [[
struct moongate_answer {
    double number;
    uint32_t serial, flags, length;
    int32_t captures[64];
    uint16_t lengths[200];
    uint8_t text[4096];
};
]]
local answer = ffi.new("struct moongate_answer")

local function half(name, arguments)
    return cast("int (*)(" .. arguments .. ")", fast[name])
end

local shared_get = half("shared_get", "void *, const char *, size_t, struct moongate_answer *")
local shared_store = half("shared_store",
    "void *, const char *, size_t, int, int, const char *, size_t, double, double")
local shared_incr = half("shared_incr",
    "void *, const char *, size_t, double, struct moongate_answer *")
local re_exec = half("re_exec", "void *, const char *, size_t, const char *, size_t, "
    .. "const char *, size_t, struct moongate_answer *")
local context = half("context", "void *")

-- ngx.shared: dictionaries are known by their tables.
local methods, zones = native.shared, {}
for _, dict in pairs(ngx.shared) do
    zones[dict] = cast("void *", dict[1])
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

local incr = methods.incr
function methods.incr(self, key, step, init, seconds)
    local zone = zones[self]
    if zone and init == nil and seconds == nil and type(key) == "string" and type(step) == "number"
        and shared_incr(zone, key, #key, step, answer) == 0
    then
        return answer.number
    end
    return incr(self, key, step, init, seconds)
end

-- ngx.re: patterns without named groups, from the beginning.
local function matched(subject, regex, letters)
    if type(subject) ~= "string" or type(regex) ~= "string" then
        return -1
    end
    letters = letters or ""
    if type(letters) ~= "string" then
        return -1
    end
    return re_exec(vm, subject, #subject, regex, #regex, letters, #letters, answer)
end

local match = ngx.re.match
function ngx.re.match(subject, regex, letters, ctx, given)
    if ctx == nil and (given == nil or type(given) == "table") then
        local count = matched(subject, regex, letters)
        if count == 0 then
            return nil
        elseif count > 0 then
            local serial = answer.serial
            local groups = given or new_table(count - 1, 1)
            for number = 0, count - 1 do
                local from = answer.captures[2 * number]
                groups[number] = from >= 0
                    and sub(subject, from + 1, answer.captures[2 * number + 1])
            end
            -- Else a finalizer has matched something in between.
            if answer.serial == serial then
                return groups
            end
        end
    end
    return match(subject, regex, letters, ctx, given)
end

local find = ngx.re.find
function ngx.re.find(subject, regex, letters, ctx, nth)
    if ctx == nil and nth == nil then
        local count = matched(subject, regex, letters)
        if count == 0 then
            return nil
        elseif count > 0 then
            return answer.captures[0] + 1, answer.captures[1]
        end
    end
    return find(subject, regex, letters, ctx, nth)
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
encoder("md5", "md5")
