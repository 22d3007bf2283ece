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
const COUNTED: u32 = 2000;

/// What a GET of 17 bytes through the benchmark's canary may ask for, Lua's strings included; to be
/// lowered when less is needed.
const LIMIT: f64 = 15.5;

const REQUEST: &[u8] = b"GET /api/users?id=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\
    X-Canary-Version: v2\r\nAccept: */*\r\nUser-Agent: Mozilla/5.0 bench\r\n\
    Authorization: Bearer abcdefg\r\nAccept-Encoding: gzip\r\n\r\n";

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
    let conf = setup.conf(include_str!("../benches/side_by_side/canary.conf"));
    let prefix = setup.prefix().to_owned();
    let port = setup.port("PORT");
    thread::spawn(move || {
        let mut arguments = vec![OsString::from("moongate"), "-p".into(), prefix.clone().into()];
        arguments.extend(["-c".into(), conf.into(), "-e".into()]);
        arguments.push(prefix.join("logs/error.log").into());
        moongate::cli::main(arguments)
    });
    let mut stream = harness::eventually("the gateway listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
    });
    ask(&mut stream, WARM_UP);
    let before = alloc::count();
    ask(&mut stream, COUNTED);
    let each = (alloc::count() - before) as f64 / f64::from(COUNTED);
    println!("{each:.2} allocations a request");
    assert!(each <= LIMIT, "{each:.2} allocations a request, at most {LIMIT}");
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
fn ask(stream: &mut TcpStream, times: u32) {
    let mut buffer = [0; 4096];
    for _ in 0..times {
        stream.write_all(REQUEST).expect("the gateway reads");
        let mut length = 0;
        while !buffer[..length].ends_with(b"hello, canary v2\n") {
            let count = stream.read(&mut buffer[length..]).expect("the gateway answers");
            assert!(count > 0, "closed");
            length += count;
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}
