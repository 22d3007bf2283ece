//! Functions of the API in loops, timed inside, on both servers in turns.

use crate::contestant::{Contestant, MOONGATE, REFERENCE, Surroundings};
use crate::harness::client;
use crate::harness::server::Kind;
use crate::report::{cell, interval};
use crate::statistics::{bootstrap, median};
use crate::{Options, in_turn};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// What `--rows` calls it.
pub const NAME: &str = "lua";

/// A function of `lua_api.lua`, and how often it is called: some ten milliseconds.
const CASES: &[(&str, u32)] = &[
    ("shared.get", 50_000),
    ("shared.get number", 50_000),
    ("shared.get nothing", 50_000),
    ("shared.set", 50_000),
    ("shared.set text", 50_000),
    ("shared.set expiring", 50_000),
    ("shared.add", 20_000),
    ("shared.delete", 20_000),
    ("shared.incr", 20_000),
    ("shared.incr initial", 20_000),
    ("shared.ttl", 20_000),
    ("shared.push and pop", 5_000),
    ("re.match", 20_000),
    ("re.match named", 20_000),
    ("re.match nothing", 20_000),
    ("re.find", 20_000),
    ("re.find nth", 20_000),
    ("re.gmatch", 5_000),
    ("re.sub", 20_000),
    ("re.gsub", 5_000),
    ("re.gsub function", 5_000),
    ("var.get", 50_000),
    ("var.get uri", 50_000),
    ("var.get remote_addr", 50_000),
    ("var.set", 50_000),
    ("req.get_headers", 5_000),
    ("req.get_headers one", 5_000),
    ("req.get_uri_args", 5_000),
    ("req.get_method", 20_000),
    ("req.set_header", 20_000),
    ("header.get", 50_000),
    ("header.set", 20_000),
    ("status", 50_000),
    ("get_phase", 50_000),
    ("ctx", 50_000),
    ("now", 50_000),
    ("time", 50_000),
    ("update_time", 20_000),
    ("http_time", 20_000),
    ("parse_http_time", 20_000),
    ("localtime", 20_000),
    ("escape_uri", 20_000),
    ("unescape_uri", 20_000),
    ("encode_args", 5_000),
    ("decode_args", 5_000),
    ("encode_base64", 20_000),
    ("decode_base64", 20_000),
    ("md5", 20_000),
    ("md5_bin", 20_000),
    ("sha1_bin", 20_000),
    ("hmac_sha1", 20_000),
    ("crc32_short", 20_000),
    ("quote_sql_str", 20_000),
    ("string.find", 20_000),
    ("string.gsub", 5_000),
    ("cosocket.receive line", 5_000),
    ("cosocket.receive bytes", 5_000),
    ("cosocket.send", 5_000),
    ("cosocket.round trip", 1_000),
    ("cosocket", 1_000),
];

/// The line that the peer of cosockets answers with.
const LINE: &[u8] = b"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\n";

/// A peer for cosockets on threads of the bench: it answers `lines N` with so many lines and `echo`
/// with one, and says nothing to what else comes. Returns its port.
fn peer() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

/// Serves one connection of the peer until it ends.
fn answer(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut room = [0; 65536];
    while let Ok(count @ 1..) = stream.read(&mut room) {
        let asked = room[..count].trim_ascii_end();
        let lines = match asked.strip_prefix(b"lines ") {
            Some(number) => std::str::from_utf8(number).ok().and_then(|it| it.parse().ok()),
            None => Some(usize::from(asked.ends_with(b"echo"))),
        };
        if stream.write_all(&LINE.repeat(lines.unwrap_or(0))).is_err() {
            return;
        }
    }
}

/// Measures them, if asked for.
pub fn run(around: &Surroundings<'_>, options: &Options) -> String {
    if !options.wants(NAME) {
        return String::new();
    }
    let both = [(REFERENCE, Kind::Nginx), (MOONGATE, Kind::Moongate)];
    let contestants: Vec<Contestant> = both
        .into_iter()
        .filter(|(name, _)| options.takes(name))
        .map(|(name, kind)| {
            let setup = around.setup(kind).pinned(0);
            let setup = setup.file("lua_api.lua", include_str!("lua_api.lua"));
            Contestant::of(name, setup.start(include_str!("lua_api.conf")))
        })
        .collect();
    let peer = peer();
    let mut text = "\n| Lua, ns a call | nginx + lua | moongate | ratio | 95 % interval |\n\
                    |---|---|---|---|---|\n"
        .to_owned();
    for (case, count) in CASES {
        let mut nanoseconds = [Vec::new(), Vec::new()];
        for round in 0..=options.rounds {
            for contestant in in_turn(&contestants, round) {
                let value = ask(contestant, case, *count, peer);
                if round > 0 {
                    nanoseconds[usize::from(contestant.name == MOONGATE)].push(value);
                }
            }
        }
        let [reference, own] = nanoseconds;
        let ratios: Vec<f64> = own.iter().zip(&reference).map(|(own, its)| own / its).collect();
        let (low, high) = bootstrap(&ratios);
        let _ = writeln!(
            text,
            "| {case} | {} | {} | {} | {} |",
            cell(median(reference), 0),
            cell(median(own), 0),
            cell(median(ratios), 2),
            interval(low, high),
        );
    }
    text + "\n"
}

fn ask(contestant: &Contestant, case: &str, count: u32, peer: u16) -> f64 {
    let case = case.replace(' ', "%20");
    let uri = format!("/{case}?n={count}&first=1&second=two&peer={peer}");
    let fields = "X-Canary-Version: v2\r\nAccept: */*\r\nUser-Agent: bench\r\n";
    let response = client::request(contestant.port("PORT"), "GET", &uri, fields);
    let value = response.text().trim().parse();
    value.unwrap_or_else(|_| panic!("{} {case}: {}", contestant.name, response.text()))
}
