-- What of ngx.re iterates or calls back.
local ngx, native = ...
local exec, substitute = native.re.exec, native.re.substitute
local re = ngx.re
local type, tostring, setmetatable, concat = type, tostring, setmetatable, table.concat
local sub = string.sub

local iterator = {}

function iterator.__call(self)
    local pos = self._pos
    if not pos then
        return nil
    end
    local captures, from, to = exec(self._subj, self._regex, self._opts, pos)
    if not captures then
        self._pos = nil
        if from then
            return nil, from
        end
        return nil
    end
    if to == from then
        to = to + 1
        if to > #self._subj then
            to = nil
        end
    end
    self._pos = to
    return captures
end

function re.gmatch(subj, regex, opts)
    subj = tostring(subj)
    local ok, err = exec(subj, regex, opts, -1)
    if not ok then
        return nil, err
    end
    return setmetatable({ _subj = subj, _regex = regex, _opts = opts, _pos = 0 }, iterator)
end

local function replace_by(f, subj, regex, opts, global)
    subj = tostring(subj)
    local parts, n, count, copied, pos = {}, 0, 0, 0, 0
    while pos <= #subj do
        local captures, from, to = exec(subj, regex, opts, pos)
        if not captures then
            if from then
                return nil, nil, from
            end
            break
        end
        count = count + 1
        parts[n + 1] = sub(subj, copied + 1, from)
        parts[n + 2] = tostring(f(captures))
        n = n + 2
        copied, pos = to, to
        if to == from then
            pos = pos + 1
        end
        if not global then
            break
        end
    end
    if count == 0 then
        return subj, 0
    end
    parts[n + 1] = sub(subj, copied + 1)
    return concat(parts), count
end

function re.sub(subj, regex, replace, opts)
    if type(replace) == "function" then
        return replace_by(replace, subj, regex, opts, false)
    end
    return substitute(subj, regex, tostring(replace), opts, false)
end

function re.gsub(subj, regex, replace, opts)
    if type(replace) == "function" then
        return replace_by(replace, subj, regex, opts, true)
    end
    return substitute(subj, regex, tostring(replace), opts, true)
end
