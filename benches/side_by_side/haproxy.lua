-- The decision of canary.conf as haproxy's Lua makes it.
core.register_action("canary", { "http-req" }, function(txn)
    if txn.sf:req_hdr("x-canary-version") == "v2" then
        txn:set_var("txn.backend", "canary")
    else
        txn:set_var("txn.backend", "stable")
    end
end)
