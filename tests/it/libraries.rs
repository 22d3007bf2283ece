//! OpenResty's libraries as Debian has them (`nginx.redis` is its name for `resty.redis`), against
//! a redis-server and a memcached of the test, and OpenSSL of the process. `tests/setup.sh tests`
//! brings them.

use crate::harness::client::get;
use crate::harness::dns::{Dns, Records};
use crate::harness::eventually;
use crate::harness::ports;
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::tls::two_certificates;
use crate::tls::resumes_when;
use openssl::ssl::SslVersion;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server that stops with its test.
pub struct Running(Child);

impl Running {
    /// Starts `program` and waits until it answers on `port`.
    fn start(program: &str, port: u16, arguments: &[&str]) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; run sh tests/setup.sh tests"));
        let running = Self(child);
        eventually(program, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn redis(port: u16) -> Running {
    let port_text = port.to_string();
    let arguments = ["--bind", "127.0.0.1", "--port", &port_text, "--save", "", "--loglevel"];
    Running::start("redis-server", port, &[&arguments[..], &["warning"]].concat())
}

pub fn memcached(port: u16) -> Running {
    let port_text = port.to_string();
    let user = ["-u", "root"];
    let arguments = ["-l", "127.0.0.1", "-p", &port_text, "-U", "0"];
    Running::start("memcached", port, &[&arguments[..], &user].concat())
}

/// A gateway whose `/` runs `code`; `require "nginx.…"` finds the libraries.
fn scripted(setup: Setup, settings: &str, code: &str) -> Server {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lua-libraries");
    assert!(folder.join("nginx/redis.lua").exists(), "run sh tests/setup.sh tests");
    setup.with("LIBRARIES", folder.display()).start(&format!(
        "http {{ lua_package_path '$LIBRARIES/?.lua;/usr/share/lua/5.1/?.lua;;';\n\
         server {{ listen 127.0.0.1:$PORT; {settings}\nlocation / {{\n\
         content_by_lua_block {{ local say = ngx.say\n{code} }} }} }} }}"
    ))
}

#[test]
fn redis_answers_commands_pipelines_transactions_and_subscribers() {
    let port = ports::free();
    let _redis = redis(port);
    let server = scripted(
        Setup::new(Kind::Moongate).with("REDIS", port),
        "",
        r#"
        local redis = require "nginx.redis"
        local function open()
            local red = redis:new()
            red:set_timeouts(1000, 1000, 1000)
            assert(red:connect("127.0.0.1", $REDIS))
            return red
        end
        local red = open()
        say(red:set("dog", "an animal"), " ", red:get("dog"), " ", red:get("cat") == ngx.null)
        say(red:get_reused_times())
        say(red:incr("counter"), " ", red:incrby("counter", 41))
        say(red:lpush("list", "a", "b", "c"), " ", table.concat(red:lrange("list", 0, -1), ","))
        say(red:hmset("hash", { field = "v" }), " ", red:hget("hash", "field"))
        say(select(2, red:lpush("dog", 1)))
        red:init_pipeline()
        red:set("a", 1) red:get("a") red:lpush("dog", 1)
        local results = red:commit_pipeline()
        say(results[1], " ", results[2], " ", results[3][1], " ", results[3][2])
        red:multi() red:set("b", 2) red:get("b")
        say(table.concat(red:exec(), ","))
        local big = ("x"):rep(300000)
        red:set("big", big)
        say(red:get("big") == big)
        local sub = open()
        say(table.concat(sub:subscribe("news"), ","))
        local reader = ngx.thread.spawn(function() return table.concat(sub:read_reply(), ",") end)
        red:publish("news", "hello")
        say(select(2, ngx.thread.wait(reader)))
        sub:set_timeout(50)
        say(sub:read_reply())
        say(red:set_keepalive(10000, 10))
        local again = open()
        say(again:get_reused_times(), " ", again:get("dog"))
        say(again:eval("return {KEYS[1], ARGV[1]}", 1, "k", "v")[2])
        say(again:close(), " ", select(2, again:get("dog")))
        "#,
    );
    let expected = "OK an animal true\n0\n1 42\n3 c,b,a\nOK v\n\
        WRONGTYPE Operation against a key holding the wrong kind of value\n\
        OK 1 false WRONGTYPE Operation against a key holding the wrong kind of value\nOK,2\ntrue\n\
        subscribe,news,1\nmessage,news,hello\nniltimeout\n1\n1 an animal\nv\n1 closed\n";
    assert_eq!(get(server.port(), "/").text(), expected);
}

#[test]
fn a_redis_that_is_not_there_or_goes_is_told() {
    let port = ports::free();
    let mut server_of_redis = Some(redis(port));
    let server = scripted(
        Setup::new(Kind::Moongate).with("REDIS", port),
        "",
        r#"
        local red = require("nginx.redis"):new()
        local ok, err = red:connect("127.0.0.1", $REDIS)
        if not ok then return say(err) end
        say(red:ping(), " ", red:set_keepalive())
        "#,
    );
    assert_eq!(get(server.port(), "/").text(), "PONG 1\n");
    assert_eq!(get(server.port(), "/").text(), "PONG 1\n");
    server_of_redis.take();
    // The idle connection went with it: the next one is a new one, and refused.
    eventually("the pool is empty", || {
        (get(server.port(), "/").text() == "connection refused\n").then_some(())
    });
}

#[test]
fn memcached_keeps_counts_and_compares() {
    let port = ports::free();
    let _memcached = memcached(port);
    let server = scripted(
        Setup::new(Kind::Moongate).with("MEMC", port),
        "",
        r#"
        local memc = assert(require("nginx.memcached"):new())
        memc:set_timeout(1000)
        assert(memc:connect("127.0.0.1", $MEMC))
        say(memc:set("dog", "an animal"), " ", memc:get("dog"))
        say(memc:get("cat"))
        say(memc:add("dog", 1))
        say(memc:set("n", 5), " ", memc:incr("n", 3), " ", memc:decr("n", 1))
        local value, flags, unique = memc:gets("dog")
        say(value, " ", memc:cas("dog", "a pet", unique), " ", (memc:get("dog")))
        memc:set("multi line", "x\r\ny\r\n")
        local all = memc:get({ "dog", "n" })
        say(all.dog[1], " ", all.n[1])
        say(memc:append("dog", "!"), " ", (memc:get("dog")))
        say(memc:delete("dog"), " ", (memc:get("dog")))
        say((memc:version()) ~= nil, " ", #memc:stats() > 5)
        say(memc:set_keepalive(), " ", memc:connect("127.0.0.1", $MEMC), " ", memc:get_reused_times())
        "#,
    );
    let text = get(server.port(), "/").text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("1 an animal"), "{text}");
    assert_eq!(
        lines[1..],
        [
            "nilnilnil",
            "nilNOT_STORED",
            "1 8 7",
            "an animal 1 a pet",
            "a pet 7",
            "1 a pet!",
            "1 nil",
            "true true",
            "1 1 1",
        ],
        "{text}"
    );
}

#[test]
fn the_dns_library_asks_over_udp() {
    let dns = Dns::start(60);
    dns.set("here.test", Records::Addresses(vec![Ipv4Addr::new(10, 1, 2, 3)]));
    dns.set("broken.test", Records::Code(2));
    dns.set("silent.test", Records::Silence);
    let server = scripted(
        Setup::new(Kind::Moongate).with("DNS", dns.port),
        "",
        r#"
        local resolver = require "nginx.dns.resolver"
        local r = assert(resolver:new({ nameservers = { { "127.0.0.1", $DNS } }, retrans = 1,
            timeout = 100 }))
        local answers, err = r:query("here.test", { qtype = r.TYPE_A })
        say(answers[1].address, " ", answers[1].ttl, " ", answers[1].name)
        say(r:query("broken.test").errstr)
        say(select(2, r:query("silent.test")))
        "#,
    );
    let text = get(server.port(), "/").text();
    assert_eq!(
        text,
        "10.1.2.3 60 here.test\nserver failure\nfailed to receive reply from UDP server \
         127.0.0.1:$DNS: timeout\n"
            .replace("$DNS", &dns.port.to_string())
    );
}

#[test]
fn digests_ciphers_cookies_and_caches_work() {
    let server = scripted(
        Setup::new(Kind::Moongate),
        "",
        r#"
        local cookie = assert(require("nginx.cookie"):new())
        say(cookie:set({ key = "n", value = "v", path = "/", httponly = true, max_age = 5 }))
        local str = require "nginx.string"
        say(str.to_hex("\1\255"), " ", str.atoi("42"))
        for _, name in ipairs { "md5", "sha1", "sha224", "sha256", "sha384", "sha512" } do
            local digest = require("nginx." .. name):new()
            digest:update("hello") digest:update(" world")
            say(name, " ", str.to_hex(digest:final()):sub(1, 16))
        end
        local aes = require "nginx.aes"
        local box = assert(aes:new("secret"))
        local sealed = box:encrypt("hello")
        say(str.to_hex(sealed), " ", box:decrypt(sealed))
        local cbc = assert(aes:new("AKeyForAES-256-CBC", "12345678", aes.cipher(256, "cbc"),
            aes.hash.sha512, 5))
        say(cbc:decrypt(cbc:encrypt("hi")))
        say(#require("nginx.random").bytes(16))
        say(cookie:get("a"), " ", cookie:get_all().b)
        for _, name in ipairs { "resty.lrucache", "resty.lrucache.pureffi" } do
            local cache = require(name).new(2)
            cache:set("a", 1) cache:set("b", 2) cache:get("a") cache:set("c", 3)
            say(cache:get("a"), " ", (cache:get("b")), " ", (cache:get("c")))
        end
        "#,
    );
    let answer = crate::harness::client::request(server.port(), "GET", "/", "Cookie: a=1; b=2\r\n");
    assert_eq!(answer.header("set-cookie"), Some("n=v; Max-Age=5; Path=/; HttpOnly"));
    let expected = "true\n01ff 42\nmd5 5eb63bbbe01eeed0\nsha1 2aae6c35c94fcfb4\nsha224 2f05477fc24bb4fa\n\
        sha256 b94d27b9934d3e08\nsha384 fdbd8e75a67f29f7\nsha512 309ecc489c12d6eb\n";
    let text = answer.text();
    assert!(text.starts_with(expected), "{text}");
    let rest: Vec<&str> = text[expected.len()..].lines().collect();
    assert!(rest[0].ends_with(" hello"), "{text}");
    assert_eq!(rest[1..], ["hi", "16", "1 2", "1 nil 3", "1 nil 3"], "{text}");
}

#[test]
fn sessions_of_tls_are_kept_in_redis() {
    let port = ports::free();
    let _redis = redis(port);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lua-libraries");
    let setup = two_certificates().with("LIBRARIES", folder.display()).with("REDIS", port);
    let server = setup.start(
        r#"http { lua_package_path '$LIBRARIES/?.lua;/usr/share/lua/5.1/?.lua;;';
        init_by_lua_block {
            function redis()
                local red = require("nginx.redis"):new()
                red:set_timeout(5000)
                assert(red:connect("127.0.0.1", $REDIS))
                return red
            end
        }
        ssl_session_store_by_lua_block {
            local sessions = require "ngx.ssl.session"
            local id = assert(sessions.get_session_id())
            local der = assert(sessions.get_serialized_session())
            -- Nothing waits here; a timer may.
            assert(ngx.timer.at(0, function()
                local red = redis()
                assert(red:set(id, der))
                assert(red:set_keepalive())
                ngx.log(ngx.ERR, "kept ", id)
            end))
        }
        ssl_session_fetch_by_lua_block {
            local sessions = require "ngx.ssl.session"
            local red = redis()
            local der = assert(red:get(assert(sessions.get_session_id())))
            assert(red:set_keepalive())
            if der ~= ngx.null then assert(sessions.set_serialized_session(der)) end
        }
        server { listen 127.0.0.1:$PORT ssl; ssl_certificate a.pem; ssl_certificate_key a.key;
            ssl_session_tickets off; return 200 "$ssl_protocol $ssl_session_reused"; } }"#,
    );
    let said = resumes_when(&server, SslVersion::TLS1_2, || server.expect_logged("kept "));
    assert_eq!(said, "TLSv1.2 r");
}
