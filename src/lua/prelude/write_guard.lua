-- Warns of globals that a request's code creates, as OpenResty does.
local ngx, rawset, tostring, setmetatable = ngx, rawset, tostring, setmetatable
local get_phase, log, WARN, traceback = ngx.get_phase, ngx.log, ngx.WARN, debug.traceback

local function __newindex(globals, key, value)
    rawset(globals, key, value)
    local phase = get_phase()
    if phase == "init" or phase == "init_worker" then
        return
    end
    -- Line 12, which OpenResty's own guard shows too.
    log(WARN, "writing a global Lua variable ('", tostring(key),
        "') which may lead to race conditions between concurrent requests, so prefer the use of ",
        "'local' variables\n", traceback("", 2):sub(2))
end

setmetatable(_G, { __newindex = __newindex })
