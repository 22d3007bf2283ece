-- ngx.ssl, ngx.ssl.clienthello, ngx.ssl.session: what handshakes ask scripts for.
local _, native = ...
local preload = package.preload
local version = "0.1.25"

local ssl = native.ssl
ssl._VERSION, ssl.version = version, version
ssl.SSL3_VERSION, ssl.TLS1_VERSION = 0x0300, 0x0301
ssl.TLS1_1_VERSION, ssl.TLS1_2_VERSION, ssl.TLS1_3_VERSION = 0x0302, 0x0303, 0x0304

-- Certificates and keys are pointers of OpenSSL's, which libraries may make themselves.
local type, tonumber, error = type, tonumber, error
local chain_at, key_at = ssl.chain_at, ssl.key_at
local set_cert, set_priv_key, verify_client = ssl.set_cert, ssl.set_priv_key, ssl.verify_client

-- A copy of what a cdata points to, for the native side.
local function taken(name, take, object)
    if type(object) ~= "cdata" then
        error("bad argument #1 to '" .. name .. "' (cdata expected, got " .. type(object) .. ")", 3)
    end
    return take(tonumber(require("ffi").cast("uintptr_t", object)))
end

function ssl.set_cert(chain)
    return set_cert(taken("set_cert", chain_at, chain))
end

function ssl.set_priv_key(key)
    return set_priv_key(taken("set_priv_key", key_at, key))
end

function ssl.verify_client(authorities, depth)
    return verify_client(authorities and taken("verify_client", chain_at, authorities), depth)
end

local function parsers()
    local ffi = require "ffi"
    ffi.cdef [[
        void *ngx_http_lua_ffi_parse_pem_cert(const unsigned char *, size_t, char **);
        void *ngx_http_lua_ffi_parse_der_cert(const unsigned char *, size_t, char **);
        void *ngx_http_lua_ffi_parse_pem_priv_key(const unsigned char *, size_t, char **);
        void *ngx_http_lua_ffi_parse_der_priv_key(const unsigned char *, size_t, char **);
        void ngx_http_lua_ffi_free_cert(void *);
        void ngx_http_lua_ffi_free_priv_key(void *);
    ]]
    local C, why = ffi.C, ffi.new "char *[1]"
    for _, kind in pairs { "cert", "priv_key" } do
        local free = C["ngx_http_lua_ffi_free_" .. kind]
        for _, form in pairs { "pem", "der" } do
            local name = "parse_" .. form .. "_" .. kind
            local parse = C["ngx_http_lua_ffi_" .. name]
            ssl[name] = function(text)
                local found = parse(text, #text, why)
                if found == nil then
                    return nil, ffi.string(why[0])
                end
                return ffi.gc(found, free)
            end
        end
    end
end

preload["ngx.ssl"] = function()
    if not ssl.parse_pem_cert then
        parsers()
    end
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

local session = native.session
session.version = version
preload["ngx.ssl.session"] = function()
    return session
end

local ocsp = native.ocsp
ocsp.version = version
preload["ngx.ocsp"] = function()
    return ocsp
end
