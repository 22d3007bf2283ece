//! How many system calls a request costs its worker, counted by strace.

use crate::harness::client::Client;
use crate::harness::eventually;
use crate::harness::origin::{Answer, Origin};
use crate::harness::server::{Kind, Server, Setup};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const REQUESTS: usize = 500;

/// nginx needs five: it asks for an error of the upstream's socket, too.
const LIMIT: f64 = 4.0;

/// What a busy worker does once for many events, and what it says to other threads now and then.
const SHARED: [&str; 2] = ["epoll_wait", "futex"];

/// On one connection, one behind the other, so that nothing is amortised but waiting.
#[test]
fn a_canary_get_reads_twice_and_writes_twice() {
    let each = calls_of_a_get("hello, canary v2\n");
    println!("system calls a request: {each:.3?}");
    let own: f64 = each.iter().filter(|it| !SHARED.contains(&it.0.as_str())).map(|it| it.1).sum();
    // Something rare, as a buffer of the log that is full, is no call of the request.
    assert!(own < LIMIT + 0.1, "{own:.3} system calls a request: {each:.3?}");
    assert!(own > 3.9, "nothing was counted: {each:.3?}");
    let waits = each.get("epoll_wait").copied().unwrap_or_default();
    assert!(waits <= 2.1, "it waits for the client and for the origin: {each:.3?}");
}

#[test]
fn a_large_answer_leaves_with_its_head() {
    let each = calls_of_a_get(&"x".repeat(16 << 10));
    let writes = each.iter().filter(|it| it.0.starts_with("send") || it.0.starts_with("write"));
    let writes: f64 = writes.map(|it| it.1).sum();
    assert!((1.9..2.1).contains(&writes), "one to the peer, one to the client: {each:.3?}");
}

/// The system calls of a GET through the benchmark's canary that is answered with `body`.
fn calls_of_a_get(body: &str) -> BTreeMap<String, f64> {
    let strace = Path::new("/usr/bin/strace");
    assert!(strace.exists(), "this test counts with strace; apt-get install -y strace");
    let answer = body.to_owned();
    let origin = Origin::start(move |_| Answer::ok(&answer));
    let setup = Setup::new(Kind::Moongate).with("STABLE", "127.0.0.1:9");
    let setup = setup.with("CANARY", format!("127.0.0.1:{}", origin.port));
    let log = setup.prefix().join("logs/calls");
    let log_name = log.to_str().expect("a folder with a name").to_owned();
    let setup = setup.under(&["strace", "-D", "-f", "-o", &log_name]);
    let server = setup.start(include_str!("../../benches/side_by_side/canary.conf"));
    let mut client = Client::connect(server.port()).expect("it listens");
    ask(&mut client, 20, "/before", body);
    ask(&mut client, REQUESTS, "/counted", body);
    ask(&mut client, 1, "/behind", body);
    let calls = calls_between(&server, "/counted", "/behind");
    calls.into_iter().map(|(call, count)| (call, count as f64 / REQUESTS as f64)).collect()
}

fn ask(client: &mut Client, times: usize, path: &str, body: &str) {
    for _ in 0..times {
        let response = client.request("GET", path, "X-Canary-Version: v2\r\n").expect("an answer");
        assert_eq!((response.status(), response.text().as_str()), (200, body));
    }
}

/// The calls of the threads that talk to somebody, from the first that reads a request for `from`
/// to the one that reads a request for `to`.
fn calls_between(server: &Server, from: &str, to: &str) -> BTreeMap<String, usize> {
    let reads = |line: &str, path: &str| line.contains(&format!("\"GET {path} HTTP"));
    let text = eventually("strace has written all", || {
        let text = fs::read(server.prefix().join("logs/calls")).ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().any(|it| reads(it, to)).then_some(text)
    });
    let lines: Vec<&str> =
        text.lines().skip_while(|it| !reads(it, from)).take_while(|it| !reads(it, to)).collect();
    let thread = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let talking = ["recv", "send", "read", "write"].map(|it| format!(" {it}"));
    let workers: BTreeSet<String> = lines
        .iter()
        .filter(|line| talking.iter().any(|it| line.contains(it.as_str())) && line.contains("HTTP"))
        .map(|it| thread(it))
        .collect();
    let mut calls = BTreeMap::new();
    for line in lines.into_iter().filter(|it| workers.contains(&thread(it))) {
        let call = line.split_whitespace().nth(1).and_then(|it| it.split_once('('));
        if let Some((name, _)) = call {
            *calls.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    calls
}
