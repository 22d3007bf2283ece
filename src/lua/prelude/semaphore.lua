-- ngx.semaphore, as lua-resty-core has it.
local _, native = ...
local native_semaphore = native.semaphore
local error, setmetatable, tonumber, type = error, setmetatable, tonumber, type

package.preload["ngx.semaphore"] = function()
    local M = { version = require("resty.core.base").version }
    local mt = { __index = M }

    local function own(self)
        if type(self) ~= "table" or type(self.sem) ~= "userdata" then
            error("not a semaphore instance", 3)
        end
        return self.sem
    end

    function M.new(n)
        n = tonumber(n) or 0
        if n < 0 then
            error("no negative number", 2)
        end
        return setmetatable({ sem = native_semaphore.new(n) }, mt)
    end

    function M.wait(self, seconds)
        local sem = own(self)
        local milliseconds = tonumber(seconds) * 1000
        if milliseconds < 0 then
            error("no negative number", 2)
        end
        return native_semaphore.wait(sem, milliseconds)
    end

    function M.post(self, n)
        local sem = own(self)
        n = n and tonumber(n) or 1
        if n < 1 then
            error("positive number required", 2)
        end
        return native_semaphore.post(sem, n)
    end

    function M.count(self)
        return native_semaphore.count(own(self))
    end

    return M
end
