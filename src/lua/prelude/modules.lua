-- The modules that OpenResty brings with it, under the names by which libraries require them.
local ngx, native = ...
local preload, loaded = package.preload, package.loaded

local function provide(name, make)
    preload[name] = make
end

loaded.ngx = ngx
loaded.ndk = ndk

local cjson
provide("cjson", function()
    cjson = cjson or native.cjson_new()
    return cjson
end)
provide("cjson.safe", function()
    return native.cjson_new(true)
end)

-- table.*: those that OpenResty's LuaJIT has and LuaJIT has not.
local next, type, pairs, floor = next, type, pairs, math.floor
local table = table
table.new = require "table.new"
table.clear = require "table.clear"

function table.nkeys(t)
    local n = 0
    for _ in next, t do
        n = n + 1
    end
    return n
end

function table.isempty(t)
    return next(t) == nil
end

function table.isarray(t)
    for k in next, t do
        if type(k) ~= "number" or k < 1 or floor(k) ~= k then
            return false
        end
    end
    return true
end

function table.clone(t)
    local copy = {}
    for k, v in next, t do
        copy[k] = v
    end
    return copy
end

-- tablepool: tables that are used again, at most 200 of a tag.
provide("tablepool", function()
    local pools = {}
    local new, clear, setmetatable = table.new, table.clear, setmetatable
    local most = 200
    local pool = { _VERSION = "0.03" }

    function pool.fetch(tag, narr, nrec)
        local kept = pools[tag]
        local count = kept and kept[0] or 0
        if count > 0 then
            local found = kept[count]
            kept[count] = false
            kept[0] = count - 1
            return found
        end
        return new(narr, nrec)
    end

    function pool.release(tag, object, noclear)
        if not object then
            error("object empty", 2)
        end
        local kept = pools[tag]
        if not kept then
            kept = { [0] = 0 }
            pools[tag] = kept
        end
        if not noclear then
            setmetatable(object, nil)
            clear(object)
        end
        local count = kept[0]
        if count < most then
            kept[count + 1] = object
            kept[0] = count + 1
        end
    end

    return pool
end)

for _, name in pairs { "nkeys", "isempty", "isarray", "clone" } do
    local f = table[name]
    provide("table." .. name, function()
        return f
    end)
end

-- lua-resty-core: what it does is native here; libraries require its parts and read a few fields.
local string_size = 4096
local base = {
    version = "0.1.25",
    new_tab = table.new,
    clear_tab = table.clear,
    nkeys = table.nkeys,
    get_request = native.ssl.request,
    get_errmsg_ptr = function()
        return require("ffi").new("char *[1]")
    end,
    get_size_ptr = function()
        return require("ffi").new("size_t[1]")
    end,
    get_string_buf_size = function()
        return string_size
    end,
    set_string_buf_size = function(size)
        string_size = size
    end,
    get_string_buf = function(size)
        return require("ffi").new("unsigned char[?]", size > string_size and size or string_size)
    end,
    allows_subsystem = function(...)
        for _, subsystem in pairs { ... } do
            if subsystem == "http" then
                return
            end
        end
        error("unsupported subsystem: http", 2)
    end,
    ref_in_table = function(tb, key)
        if key == nil then
            return -1
        end
        local ref = #tb + 1
        tb[ref] = key
        return ref
    end,
    FFI_OK = 0,
    FFI_NO_REQ_CTX = -100,
    FFI_BAD_CONTEXT = -101,
    FFI_ERROR = -1,
    FFI_AGAIN = -2,
    FFI_BUSY = -3,
    FFI_DONE = -4,
    FFI_DECLINED = -5,
    FFI_ABORT = -6,
}

provide("resty.core.base", function()
    return base
end)
provide("resty.core", function()
    return { version = base.version }
end)
for _, part in pairs {
    "base64", "ctx", "exit", "hash", "misc", "ndk", "phase", "request", "response", "regex",
    "shdict", "socket", "time", "uri", "utils", "var", "worker", "param",
} do
    provide("resty.core." .. part, function()
        return { version = base.version }
    end)
end

-- What OpenResty's LuaJIT has for the request that runs.
exdata = native.ssl.request
provide("thread.exdata", function()
    return exdata
end)

-- OpenResty loads it before any script, a copy of the operator's own too.
package.loaded["resty.core"] = require("resty.core")

provide("ngx.base64", function()
    return {
        _VERSION = base.version,
        encode_base64url = native.encode_base64url,
        decode_base64url = native.decode_base64url,
    }
end)

provide("ngx.upstream", function()
    return native.upstream
end)

provide("ngx.pipe", function()
    local spawn, methods = native.pipe.spawn, {}
    methods.__index = methods
    -- Functions of Lua, which light threads may begin with.
    for name, method in pairs(native.pipe.methods) do
        methods[name] = function(...)
            return method(...)
        end
    end
    return {
        version = base.version,
        spawn = function(args, opts)
            return spawn(methods, args, opts)
        end,
    }
end)

provide("ngx.process", function()
    return {
        version = base.version,
        type = function()
            return ngx.get_phase() == "init" and "master" or "worker"
        end,
        get_master_pid = function()
            return ngx.worker.pid()
        end,
        enable_privileged_agent = function()
            return nil, "no privileged agent: all workers are threads of one process"
        end,
        signal_graceful_exit = function()
            return nil, "not supported: a worker is a thread; reload or stop the server instead"
        end,
    }
end)

provide("ngx.errlog", function()
    return {
        version = base.version,
        raw_log = function(level, msg)
            if type(level) ~= "number" then
                error("bad argument #1 to 'raw_log' (must be a number)", 2)
            end
            if type(msg) ~= "string" then
                error("bad argument #2 to 'raw_log' (must be a string)", 2)
            end
            return native.raw_log(level, msg)
        end,
        get_sys_filter_level = native.log_level,
        set_filter_level = function(level)
            if not level then
                return nil, [[missing "level" argument]]
            end
            return native.set_filter_level(level)
        end,
        get_logs = function(max, logs)
            local taken, err = native.captured_logs(max or 10)
            if not taken or not logs then
                return taken, err
            end
            for i = 1, #taken do
                logs[i] = taken[i]
            end
            logs[#taken + 1] = nil
            return logs
        end,
    }
end)

-- ngx.re: split(subj, regex, opts, ctx, max, res) and opt.
provide("ngx.re", function()
    local exec = native.re.exec
    local sub = string.sub

    -- Where the fields of `subj` end and what was captured between them, appended to `res`.
    local function fields(subj, regex, opts, from, max, res)
        local n, copied, pos = 0, from, from
        while pos < #subj and not (max > 0 and n + 1 >= max) do
            local captures, first, last = exec(subj, regex, opts, pos)
            if not captures then
                if first then
                    return nil, first
                end
                break
            end
            if first == last then
                -- An empty match splits between characters.
                first, last = first + 1, last + 1
                if first >= #subj then
                    break
                end
            end
            n = n + 1
            res[#res + 1] = sub(subj, copied + 1, first)
            for i = 1, #captures do
                if captures[i] then
                    res[#res + 1] = captures[i]
                end
            end
            copied, pos = last, last
        end
        res[#res + 1] = sub(subj, copied + 1)
        return res
    end

    local function split(subj, regex, opts, ctx, max, res)
        subj = tostring(subj)
        local from = ctx and ctx.pos and ctx.pos > 0 and ctx.pos - 1 or 0
        local out, err = fields(subj, regex, opts, from, max or 0, {})
        if not out then
            return nil, err
        end
        -- Trailing empty fields are left out, as Perl's split does.
        if not max or max <= 0 then
            while out[#out] == "" do
                out[#out] = nil
            end
        end
        if not res then
            return out
        end
        for i = 1, #out do
            res[i] = out[i]
        end
        res[#out + 1] = nil
        return res
    end

    return {
        version = base.version,
        split = split,
        opt = function(name)
            if name ~= "jit_stack_size" then
                error("unrecognized option name", 2)
            end
        end,
    }
end)
