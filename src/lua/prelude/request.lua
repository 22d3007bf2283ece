-- What the request-dependent API needs of Lua: computed fields, metatables, modules.
local ngx, native = ...
local lower, gsub, rawget, rawset, type = string.lower, string.gsub, rawget, rawset, type

-- A tail call, so that errors name the script's own line.
local getters, setters = native.getters, native.setters

setmetatable(ngx, {
    __index = function(_, key)
        local get = getters[key]
        if get then
            return get()
        end
    end,
    __newindex = function(self, key, value)
        local set = setters[key]
        if set then
            return set(value)
        end
        rawset(self, key, value)
    end,
})

ngx.var = setmetatable({}, { __index = native.var.get, __newindex = native.var.set })
ngx.header = setmetatable({}, { __index = native.header.get, __newindex = native.header.set })
ngx.arg = setmetatable({}, { __index = native.arg.get, __newindex = native.arg.set })

-- Names as they are kept, by names as scripts spell them.
local spelled, spelled_count = {}, 0
native.headers_meta = {
    __index = function(headers, name)
        local known = spelled[name]
        if not known then
            known = (gsub(lower(name), "_", "-"))
            if spelled_count < 512 and type(name) == "string" then
                spelled[name], spelled_count = known, spelled_count + 1
            end
        end
        return rawget(headers, known)
    end,
}
-- Of a request that is to be explained: what is asked for and is not there is noted.
local traced_headers_meta = {
    __index = function(headers, name)
        local value = rawget(headers, (gsub(lower(name), "_", "-")))
        if value == nil then
            native.note_header(name)
        end
        return value
    end,
}
native.keep_headers_meta(native.headers_meta, traced_headers_meta)

local has, call = native.ndk.has, native.ndk.call
ndk.set_var = setmetatable({}, {
    __index = function(_, name)
        name = tostring(name)
        if not has(name) then
            error('ndk.set_var: directive "' .. name
                  .. '" not found or does not use ndk_set_var_value', 2)
        end
        return function(text)
            if ngx.get_phase() == "init" then
                error("no request found")
            end
            local made = call(name, tostring(text))
            if made == nil then
                error("calling directive " .. name .. " failed with code -1", 2)
            end
            return made
        end
    end,
    __newindex = function()
        error("not allowed", 2)
    end,
})

local preload = package.preload
local version = "0.1.25"

local function module(name, fields)
    fields.version = version
    preload[name] = function()
        return fields
    end
end

module("moongate.rollout", native.rollout)
module("ngx.balancer", native.balancer)
module("ngx.req", { add_header = native.add_request_header })
module("ngx.resp", { add_header = native.header.add })
