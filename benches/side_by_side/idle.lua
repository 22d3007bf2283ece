-- wrk: every connection asks once and then stays open in silence. `-- N` is their number.
local asked, connections = 0, 0

function init(arguments)
    connections = tonumber(arguments[1])
end

function delay()
    asked = asked + 1
    return asked <= connections and 0 or 1000000
end
