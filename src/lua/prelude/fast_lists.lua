-- The lists of ngx.shared, by LuaJIT's ffi, as in fast.lua.
local ngx, native = ...
local ffi = require("ffi")
local type, select, ipairs, ffi_string = type, select, ipairs, ffi.string
local fast, methods, zones = native.fast, native.shared, {}
local answer, half = fast.answer, fast.half
for _, dict in pairs(ngx.shared) do
    zones[dict] = ffi.cast("void *", dict[1])
end

local shared_push = half("shared_push",
    "void *, const char *, size_t, int, const char *, size_t, double")
local shared_pop = half("shared_pop",
    "void *, const char *, size_t, int, struct moongate_answer *")
for place, side in ipairs({ "l", "r" }) do
    local push, pop = methods[side .. "push"], methods[side .. "pop"]
    place = place - 1
    methods[side .. "push"] = function(...)
        local self, key, value = ...
        local zone = zones[self]
        if zone and type(key) == "string" and select("#", ...) == 3 then
            local length = -1
            if type(value) == "string" then
                length = shared_push(zone, key, #key, place, value, #value, 0)
            elseif type(value) == "number" then
                length = shared_push(zone, key, #key, place, nil, 0, value)
            end
            if length >= 0 then
                return length
            end
        end
        return push(...)
    end
    methods[side .. "pop"] = function(...)
        local self, key = ...
        local zone = zones[self]
        if zone and type(key) == "string" and select("#", ...) == 2 then
            local kind = shared_pop(zone, key, #key, place, answer)
            if kind == 1 then
                return ffi_string(answer.text, answer.length)
            elseif kind == 2 then
                return answer.number
            elseif kind == 0 then
                return nil
            end
        end
        return pop(...)
    end
end
