-- Makes waits of the API pass through coroutines of the script, and keeps a stopped script from
-- catching that it was stopped.
local _, native = ...
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
local raw_resume, raw_yield = coroutine.resume, coroutine.yield

-- A wait of the API surfaces here as the sentinel: hand it outwards, and its results inwards.
local function pass(co, ok, tag, ...)
    if tag == sentinel then
        return pass(co, raw_resume(co, raw_yield(sentinel)))
    end
    return ok, tag, ...
end

local function resume(co, ...)
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
        return finish(co, pass(co, raw_resume(co, ...)))
    end
end

coroutine.resume = resume
coroutine.wrap = wrap

-- The names under which libraries look for the functions as they were.
coroutine._create = create
coroutine._resume = raw_resume
coroutine._yield = raw_yield
coroutine._wrap = wrap
coroutine._status = coroutine.status
coroutine._running = coroutine.running
