-- string.gmatch on the native matcher.
local _, native = ...
local step, type, error = native.gmatch_step, type, error

local function text(value, index)
    local kind = type(value)
    if kind == "number" then
        return value .. ""
    elseif kind ~= "string" then
        if value == nil then
            kind = "no value"
        end
        error("bad argument #" .. index .. " to 'gmatch' (string expected, got " .. kind .. ")", 3)
    end
    return value
end

function string.gmatch(subject, pattern)
    subject, pattern = text(subject, 1), text(pattern, 2)
    local from = 0
    local function advance(next, ...)
        from = next
        return ...
    end
    return function()
        if from then
            return advance(step(subject, pattern, from))
        end
    end
end
