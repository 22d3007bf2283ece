//! What scripts may use: one that runs away, alone or with all of the memory, costs its request a
//! 500 that names it, and nobody else anything. Prints what it measures (`-- --nocapture`).

use crate::harness::client::{Client, get};
use crate::harness::server::{Server, gateway};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const CONF: &str = r#"worker_processes 2;
http {
    keepalive_requests 1000000;
    upstream chosen { server 127.0.0.1:1; balancer_by_lua_block { while true do end } }
    server {
        listen 127.0.0.1:$PORT;
        location /fine { content_by_lua_block { ngx.print(ngx.re.match("fine", "f.n(e)", "jo")[0]) } }
        location /busy { content_by_lua_block {
            local from = os.clock() repeat until os.clock() - from > 0.4 ngx.print("busy")
        } }
        location /plain { content_by_lua_block { while true do end } }
        location /coroutine { content_by_lua_block { coroutine.wrap(function() while true do end end)() } }
        location /thread { content_by_lua_block { ngx.thread.wait(ngx.thread.spawn(function() while true do end end)) } }
        location /pcall { content_by_lua_block { while true do pcall(function() while true do end end) end } }
        location /yields { content_by_lua_block { while true do coroutine.yield() end } }
        location /sleeps { content_by_lua_block { while true do ngx.sleep(0) end } }
        location /set { set_by_lua_block $x { while true do end } content_by_lua_block { ngx.print("x") } }
        location /rewrite { rewrite_by_lua_block { while true do end } }
        location /access { access_by_lua_block { while true do end } }
        location /balancer { proxy_pass http://chosen; }
        location /header { return 200; header_filter_by_lua_block { while true do end } }
        location /body { content_by_lua_block { ngx.print("x") } body_filter_by_lua_block { while true do end } }
        location /log { return 200; log_by_lua_block { while true do end } }
        location /timer { content_by_lua_block { ngx.timer.at(0, function() while true do end end) } }
        location /pattern { content_by_lua_block { string.find(("a"):rep(100000), ".-.-.-.-b") } }
        location /regex { content_by_lua_block { while true do ngx.re.match(("a"):rep(40) .. "!", "^(a+)+$") end } }
        location /table { content_by_lua_block { local t = {} while true do t[#t + 1] = ("x"):rep(65536) .. #t end } }
        location /string { content_by_lua_block { local s = "x" while true do s = s .. s end } }
    }
}"#;

/// How long a script may run away: its second, the watchdog's look, and what ends it.
const LIMIT: Duration = Duration::from_millis(1200);

/// CPU time of the server so far.
fn cpu(server: &Server) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).expect("it runs");
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let ticks = |index: usize| fields[index].parse::<u64>().expect("a number");
    // utime and stime, in hundredths of a second.
    Duration::from_millis((ticks(12) + ticks(13)) * 10)
}

/// The status of an answer that has to come; a connection that is cut is 0.
fn ask(server: &Server, uri: &str) -> u16 {
    let client = Client::connect(server.port()).expect("it accepts");
    let mut client = client.patience(Duration::from_secs(60)).expect("a socket");
    match client.request("GET", uri, "Connection: close\r\n") {
        Ok(answer) => answer.status(),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("{uri} hangs"),
        Err(_) => 0,
    }
}

#[test]
fn a_runaway_script_costs_its_request_a_500_that_names_it() {
    let limit = "execution time limit exceeded";
    let memory = "not enough memory";
    let shapes = [
        ("plain", 500, limit, 11),
        ("coroutine", 500, limit, 12),
        ("thread", 500, limit, 13),
        ("pcall", 500, limit, 14),
        ("yields", 500, limit, 15),
        ("sleeps", 500, limit, 16),
        ("set", 500, limit, 17),
        ("rewrite", 500, limit, 18),
        ("access", 500, limit, 19),
        ("balancer", 500, limit, 4),
        ("header", 500, limit, 21),
        ("body", 0, limit, 22),
        ("log", 200, limit, 23),
        ("timer", 200, limit, 24),
        ("pattern", 500, "pattern too complex", 25),
        ("regex", 500, limit, 26),
        ("table", 500, memory, 27),
        ("string", 500, memory, 28),
    ];
    let server = gateway(CONF);
    // What a start costs is no script's.
    server.expect_logged("serves configuration 1");
    both_are_fine(&server, "the start");
    for (uri, status, text, line) in shapes {
        let (began, used) = (Instant::now(), cpu(&server));
        let got = ask(&server, &format!("/{uri}"));
        let waited = began.elapsed();
        let place = format!("(moongate.conf:{line})");
        crate::harness::settles("the line in the log", true, || {
            server.error_log().split("[error]").any(|it| it.contains(text) && it.contains(&place))
        });
        let used = cpu(&server) - used;
        println!("{uri:10} {got:3} after {waited:.2?}, {used:.2?} of CPU time");
        let is_cut = status == 0 && matches!(got, 0 | 200 | 500);
        assert!(got == status || is_cut, "{uri}: {got}");
        assert!(used <= LIMIT, "{uri} took {used:?} of CPU time");
        both_are_fine(&server, uri);
    }
}

/// Both workers are as good as ever.
fn both_are_fine(server: &Server, after: &str) {
    for _ in 0..8 {
        assert_eq!(get(server.port(), "/fine").text(), "fine", "after {after}");
    }
}

/// Waits of clients that ask for `/fine` one time after the other, meanwhile `beside` runs.
fn waits_beside(server: &Server, beside: impl FnOnce()) -> Vec<Duration> {
    let (waits, ends) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let client = Client::connect(server.port()).expect("it accepts");
                let mut client = client.patience(Duration::from_secs(60)).expect("a socket");
                let mut own = Vec::new();
                while !ends.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    assert_eq!(client.get("/fine").expect("an answer").text(), "fine");
                    own.push(began.elapsed());
                    thread::sleep(Duration::from_millis(1));
                }
                waits.lock().expect("nobody panics").append(&mut own);
            });
        }
        beside();
        ends.store(true, Ordering::Relaxed);
    });
    let mut waits = waits.into_inner().expect("nobody panics");
    waits.sort_unstable();
    waits
}

#[test]
fn others_wait_as_long_as_before_while_a_script_runs_away() {
    let server = gateway(CONF);
    let p99 = |waits: &[Duration]| waits[waits.len() * 99 / 100];
    let mut rises = Vec::new();
    for _ in 0..3 {
        let calm = waits_beside(&server, || thread::sleep(Duration::from_secs(3)));
        let storm = waits_beside(&server, || {
            for uri in ["/plain", "/table"] {
                ask(&server, uri);
                thread::sleep(Duration::from_secs(2));
            }
        });
        let rise = p99(&storm).saturating_sub(p99(&calm));
        println!(
            "p99 {:.2?} of {} requests without, {:.2?} of {} with scripts that run away: +{rise:.2?}; \
             the longest wait is that of a client of the same worker: {:.2?}",
            p99(&calm),
            calm.len(),
            p99(&storm),
            storm.len(),
            storm[storm.len() - 1],
        );
        rises.push(rise);
        if rise <= Duration::from_millis(50) {
            return;
        }
    }
    panic!("p99 of others rose by {rises:?}");
}

#[test]
fn a_busy_machine_kills_no_script() {
    let server = gateway(CONF);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let ends = Arc::new(AtomicBool::new(false));
    let spinners: Vec<_> = (0..4 * cores)
        .map(|_| {
            let ends = Arc::clone(&ends);
            thread::spawn(move || while !ends.load(Ordering::Relaxed) {})
        })
        .collect();
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(get(server.port(), "/busy").text(), "busy");
        println!("0.4 s of CPU time took {:.2?} beside {} spinners", began.elapsed(), 4 * cores);
    }
    ends.store(true, Ordering::Relaxed);
    spinners.into_iter().for_each(|it| it.join().expect("it spins only"));
    assert!(!server.error_log().contains("execution time limit"), "{}", server.error_log());
}
