//! How many blocks of memory a request asks for: counted by the gateway's own allocator, with the
//! gateway in this very process, beside an origin and a client that ask for none.
//!
//! It is alone in its binary: nothing else may run meanwhile. The count exists in builds with debug
//! assertions only.
#![cfg(debug_assertions)]

#[expect(dead_code, reason = "the other tests need more of it")]
#[path = "it/harness/mod.rs"]
mod harness;

use harness::server::{Kind, Setup};
use moongate::sys::alloc;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

const WARM_UP: u32 = 1000;
/// Requests of a round, so few that most rounds see nothing of what the gateway does a few times a
/// second beside them, however busy the machine is.
const COUNTED: u32 = 50;
const ROUNDS: usize = 41;

/// What a GET of 17 bytes through the benchmark's canary may ask for, Lua's strings included; to be
/// lowered when less is needed.
const LIMIT: f64 = 15.5;

const REQUEST: &[u8] = b"GET /api/users?id=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\
    X-Canary-Version: v2\r\nAccept: */*\r\nUser-Agent: Mozilla/5.0 bench\r\n\
    Authorization: Bearer abcdefg\r\nAccept-Encoding: gzip\r\n\r\n";

/// Beside the canary by Lua: the same upstream asked plainly, by a rollout's header, and by the
/// share of a key.
const ROLLOUTS: &str = "upstream other { server $CANARY; keepalive 256; }\n\
     rollout asked { stable stable; canary canary version=v2; header X-Canary-Version; weight 0;\n\
     when $http_user_agent ~* iphone canary; retry_on_stable on; }\n\
     rollout shared { stable canary; canary other version=v2; weight 50%;\n\
     sticky $http_authorization; }\n\
     server { listen 127.0.0.1:$PORT2; proxy_set_header Connection ''; set $backend canary;\n\
     location /plain { proxy_pass http://canary; }\n\
     location /asked { proxy_pass http://$rollout_asked; }\n\
     location /shared { proxy_pass http://$rollout_shared; } }\n";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\n\
    Content-Length: 17\r\n\r\nhello, canary v2\n";

#[test]
fn a_canary_get_asks_for_few_blocks() {
    let origin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = origin.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in origin.incoming().flatten() {
            thread::spawn(move || answer_all(stream));
        }
    });
    let mut setup =
        Setup::new(Kind::Moongate).with("STABLE", "127.0.0.1:9").with("CANARY", address);
    let text = include_str!("../benches/side_by_side/canary.conf");
    let conf = setup.conf(&text.replacen("server {", &format!("{ROLLOUTS} server {{"), 1));
    let prefix = setup.prefix().to_owned();
    let (port, other) = (setup.port("PORT"), setup.port("PORT2"));
    thread::spawn(move || {
        let mut arguments = vec![OsString::from("moongate"), "-p".into(), prefix.clone().into()];
        arguments.extend(["-c".into(), conf.into(), "-e".into()]);
        arguments.push(prefix.join("logs/error.log").into());
        moongate::cli::main(arguments)
    });
    let of = |path: &str| {
        let text = String::from_utf8_lossy(REQUEST).replace("/api/users", path);
        measured(other, text.as_bytes())
    };
    let plain = of("/plain");
    for path in ["/asked", "/shared"] {
        let each = of(path);
        println!("{path}: {each:.2} allocations a request, {plain:.2} without a rollout");
        assert!(each <= plain + 0.1, "{path}: {each:.2} allocations, {plain:.2} without a rollout");
    }
    let each = measured(port, REQUEST);
    println!("{each:.2} allocations a request");
    assert!(each <= LIMIT, "{each:.2} allocations a request, at most {LIMIT}");
}

/// Allocations for one `request`: the median of many rounds.
fn measured(port: u16, request: &[u8]) -> f64 {
    let mut stream = harness::eventually("the gateway listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
    });
    ask(&mut stream, request, WARM_UP);
    let mut rounds = [0; ROUNDS].map(|_: u64| {
        let before = alloc::count();
        ask(&mut stream, request, COUNTED);
        alloc::count() - before
    });
    rounds.sort_unstable();
    rounds[ROUNDS / 2] as f64 / f64::from(COUNTED)
}

/// Answers every request without a body until the gateway closes.
fn answer_all(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    let mut length = 0;
    while let Ok(count @ 1..) = stream.read(&mut buffer[length..]) {
        length += count;
        if buffer[..length].ends_with(b"\r\n\r\n") {
            length = 0;
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    }
}

/// One request after the other, each answered in full by the canary.
fn ask(stream: &mut TcpStream, request: &[u8], times: u32) {
    let mut buffer = [0; 4096];
    for _ in 0..times {
        stream.write_all(request).expect("the gateway reads");
        let mut length = 0;
        while !buffer[..length].ends_with(b"hello, canary v2\n") {
            let count = stream.read(&mut buffer[length..]).expect("the gateway answers");
            assert!(count > 0, "closed");
            length += count;
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}
