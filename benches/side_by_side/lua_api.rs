//! Functions of the API in loops, timed inside, on both servers in turns.

use crate::contestant::{Contestant, MOONGATE, REFERENCE, Surroundings};
use crate::harness::client;
use crate::harness::server::Kind;
use crate::report::{cell, interval};
use crate::statistics::{bootstrap, median};
use crate::{Options, in_turn};
use std::fmt::Write;

/// What `--rows` calls it.
pub const NAME: &str = "lua";

/// A function of `lua_api.lua`, and how often it is called: some ten milliseconds.
const CASES: &[(&str, u32)] = &[
    ("shared.get", 100_000),
    ("shared.set", 50_000),
    ("shared.incr", 50_000),
    ("re.match", 20_000),
    ("re.find", 50_000),
    ("re.gsub", 10_000),
    ("var.get", 50_000),
    ("req.get_headers", 5_000),
    ("req.get_uri_args", 5_000),
    ("ctx", 50_000),
    ("escape_uri", 50_000),
    ("encode_base64", 50_000),
    ("md5", 20_000),
    ("string.find", 50_000),
    ("string.gsub", 20_000),
    ("cosocket", 1_000),
];

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
    let mut text = "\n| Lua, ns a call | nginx + lua | moongate | ratio | 95 % interval |\n\
                    |---|---|---|---|---|\n"
        .to_owned();
    for (case, count) in CASES {
        let mut nanoseconds = [Vec::new(), Vec::new()];
        for round in 0..=options.rounds {
            for contestant in in_turn(&contestants, round) {
                let value = ask(contestant, case, *count);
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

fn ask(contestant: &Contestant, case: &str, count: u32) -> f64 {
    let uri = format!("/{case}?n={count}&first=1&second=two");
    let fields = "X-Canary-Version: v2\r\nAccept: */*\r\nUser-Agent: bench\r\n";
    let response = client::request(contestant.port("PORT"), "GET", &uri, fields);
    let value = response.text().trim().parse();
    value.unwrap_or_else(|_| panic!("{} {case}: {}", contestant.name, response.text()))
}
