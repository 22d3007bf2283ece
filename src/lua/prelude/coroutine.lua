-- Makes waits of the API pass through coroutines of the script, and keeps a stopped script from
-- catching that it was stopped.
local ngx, native = ...
local sentinel, is_killed, fail = native.sentinel(), native.is_killed, native.fail

local raw_xpcall = xpcall

-- A message handler runs inside the hook that stops a script, where no hook runs: it is passed by.
function xpcall(f, handler, ...)
    return raw_xpcall(f, function(...)
        if is_killed() then
            return ...
        end
        return handler(...)
    end, ...)
end

local create = coroutine.create
local raw_resume, raw_yield, raw_status = coroutine.resume, coroutine.yield, coroutine.status
local light_status, raw_spawn = native.light_status, ngx.thread.spawn

-- Coroutines that wait for something of the API: for scripts they run.
local busy = setmetatable({}, { __mode = "k" })
-- Whether there ever was a light thread in this VM.
local has_light = false

ngx.thread.spawn = function(...)
    has_light = true
    return raw_spawn(...)
end

local pass

local function go_on(co, ...)
    busy[co] = nil
    return pass(co, raw_resume(co, ...))
end

-- A wait of the API surfaces here as the sentinel: hand it outwards, and its results inwards.
function pass(co, ...)
    local ok, tag = ...
    if tag == sentinel then
        busy[co] = true
        return go_on(co, raw_yield(sentinel))
    end
    if not ok and tag == "cannot resume running coroutine" and raw_status(co) == "normal" then
        return false, "cannot resume normal coroutine"
    end
    return ...
end

-- As `coroutine.status` says of one that may not be resumed.
local function held(co)
    return busy[co] and "running" or has_light and light_status(co)
end

local function resume(co, ...)
    local status = held(co)
    if status then
        return false, "cannot resume " .. status .. " coroutine"
    end
    return pass(co, raw_resume(co, ...))
end

local function finish(co, ok, ...)
    if ok then
        return ...
    end
    return fail(co, (...))
end

local function wrap(f)
    local co = create(f)
    return function(...)
        return finish(co, resume(co, ...))
    end
end

local function status(co)
    local plain = raw_status(co)
    return plain ~= "running" and held(co) or plain
end

coroutine.resume = resume
coroutine.wrap = wrap
coroutine.status = status

-- The names under which libraries look for the functions as they were.
coroutine._create = create
coroutine._resume = raw_resume
coroutine._yield = raw_yield
coroutine._wrap = wrap
coroutine._status = raw_status
coroutine._running = coroutine.running
