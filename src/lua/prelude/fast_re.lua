-- What halves by LuaJIT's ffi answer with, and those of `ngx.re`: as `fast.lua` says.
local ngx, native = ...
local ffi = require("ffi")
local new_table = require("table.new")
local type, sub, cast, ffi_string = type, string.sub, ffi.cast, ffi.string
local fast = native.fast
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

fast.at, fast.answer, fast.half = vm, answer, half

local re_place = half("re_place", "void *, const char *, size_t, const char *, size_t, "
    .. "struct moongate_answer *")
local re_exec = half("re_exec", "void *, int, const char *, size_t, size_t, "
    .. "struct moongate_answer *")
local re_substitute = half("re_substitute", "void *, int, const char *, size_t, "
    .. "const char *, size_t, int, struct moongate_answer *")

-- The place of a pattern by its letters and itself, and the names of its groups by its place: a
-- name and its group's number in turns, false where there are none. Place 0 is the next pattern's
-- soon: it is asked for each time, and nothing may be made between that and the match, for a
-- finalizer could match another.
local places, names = {}, { [0] = false }

local function placed(regex, letters)
    local place = re_place(vm, regex, #regex, letters, #letters, answer)
    if place < 0 then
        return nil
    end
    local count, at, groups = answer.flags, 0, false
    if place == 0 then
        return count == 0 and 0 or nil
    end
    if count > 0 then
        local serial = answer.serial
        groups = new_table(2 * count, 0)
        for number = 0, count - 1 do
            local length = answer.lengths[2 * number]
            groups[2 * number + 2] = answer.lengths[2 * number + 1]
            groups[2 * number + 1] = ffi_string(answer.text + at, length)
            at = at + length
        end
        -- Else a finalizer has matched something in between.
        if answer.serial ~= serial then
            return nil
        end
    end
    names[place] = groups
    local of_letters = places[letters]
    if not of_letters then
        of_letters = {}
        places[letters] = of_letters
    end
    of_letters[regex] = place
    return place
end

-- The place of a pattern; nil where the function must be called.
local function place_of(regex, letters)
    if type(regex) ~= "string" then
        return nil
    end
    letters = letters or ""
    local of_letters = places[letters]
    local place = of_letters and of_letters[regex]
    if place then
        return place
    end
    if type(letters) ~= "string" then
        return nil
    end
    return placed(regex, letters)
end

-- The table of the match that was just made, nil where a finalizer has made another since.
local function captured(subject, place, code, given)
    local count, named = code % 64, names[place]
    local groups = given or new_table(count - 1, named and #named / 2 + 1 or 1)
    for number = 0, count - 1 do
        local from = answer.captures[2 * number]
        groups[number] = from >= 0 and sub(subject, from + 1, answer.captures[2 * number + 1])
    end
    if answer.serial ~= (code - count) / 64 then
        return nil
    end
    if named then
        for at = 1, #named, 2 do
            groups[named[at]] = groups[named[at + 1]]
        end
    end
    return groups
end

local match = ngx.re.match
function ngx.re.match(subject, regex, letters, ctx, given)
    if ctx == nil and (given == nil or type(given) == "table") and type(subject) == "string" then
        local place = place_of(regex, letters)
        if place then
            local code = re_exec(vm, place, subject, #subject, 0, answer)
            if code == 0 then
                return nil
            elseif code > 0 then
                local groups = captured(subject, place, code, given)
                if groups then
                    return groups
                end
            end
        end
    end
    return match(subject, regex, letters, ctx, given)
end

local find = ngx.re.find
function ngx.re.find(subject, regex, letters, ctx, nth)
    if ctx == nil and type(subject) == "string" then
        local place = place_of(regex, letters)
        if place then
            local code = re_exec(vm, place, subject, #subject, 0, answer)
            if code == 0 then
                return nil
            elseif code > 0 then
                if nth == nil then
                    return answer.captures[0] + 1, answer.captures[1]
                elseif type(nth) == "number" and nth >= 0 and nth < code % 64 and nth % 1 == 0 then
                    local from = answer.captures[2 * nth]
                    if from >= 0 then
                        return from + 1, answer.captures[2 * nth + 1]
                    end
                end
            end
        end
    end
    return find(subject, regex, letters, ctx, nth)
end

-- For `re.lua`: the match's table, its start and its end.
local exec = native.re.exec
function native.re.exec(subject, regex, letters, start)
    if start >= 0 and type(subject) == "string" then
        local place = place_of(regex, letters)
        if place then
            local code = re_exec(vm, place, subject, #subject, start, answer)
            if code == 0 then
                return nil
            elseif code > 0 then
                local from, to = answer.captures[0], answer.captures[1]
                local groups = captured(subject, place, code)
                if groups then
                    return groups, from, to
                end
            end
        end
    end
    return exec(subject, regex, letters, start)
end

local substitute = native.re.substitute
function native.re.substitute(subject, regex, template, letters, is_global)
    if type(subject) == "string" then
        local place = place_of(regex, letters)
        if place then
            local number = is_global and 1 or 0
            local count = re_substitute(vm, place, subject, #subject, template, #template, number,
                answer)
            if count == 0 then
                return subject, 0
            elseif count > 0 then
                return ffi_string(answer.text, answer.length), count
            end
        end
    end
    return substitute(subject, regex, template, letters, is_global)
end
