-- ngx.ssl, ngx.ssl.clienthello: what handshakes ask scripts for.
local _, native = ...
local preload = package.preload
local version = "0.1.25"

local ssl = native.ssl
ssl._VERSION, ssl.version = version, version
ssl.SSL3_VERSION, ssl.TLS1_VERSION = 0x0300, 0x0301
ssl.TLS1_1_VERSION, ssl.TLS1_2_VERSION, ssl.TLS1_3_VERSION = 0x0302, 0x0303, 0x0304
preload["ngx.ssl"] = function()
    return ssl
end

local hello = native.clienthello
preload["ngx.ssl.clienthello"] = function()
    return {
        version = version,
        get_client_hello_server_name = hello.server_name,
        get_client_hello_ext = hello.ext,
        get_client_hello_ciphers = hello.ciphers,
        get_supported_versions = hello.supported_versions,
        set_protocols = hello.set_protocols,
    }
end
