//! CPU time a request of the whole gateway, beside nginx and nginx with Lua, on the same machine in
//! the same minutes: the servers take turns, each on core 0, load and origin on core 1.
//!
//!     cargo bench --bench side_by_side -- \
//!         [--rounds N] [--seconds N] [--connections N] [--without NAME]
//!
//! prints a Markdown table. `--profile dev-opt` behind `cargo bench` builds faster than release;
//! `MOONGATE_TEST_BINARY=PATH` measures a binary as it is. It needs nginx with Lua, wrk, taskset.

#[expect(dead_code, reason = "the integration tests need more of it")]
#[path = "../../tests/it/harness/mod.rs"]
mod harness;
mod measure;
mod statistics;

use harness::server::{Kind, Server, Setup};
use measure::{Load, Sample};
use statistics::{bootstrap, median};
use std::process::ExitCode;

/// The one that the others are compared with.
const REFERENCE: &str = "nginx + lua";

fn main() -> ExitCode {
    let Some(options) = Options::read(std::env::args().skip(1)) else {
        eprintln!("usage: [--rounds N] [--seconds N] [--connections N] [--without NAME]");
        return ExitCode::FAILURE;
    };
    let origin = Setup::new(Kind::Nginx).pinned(1).start(include_str!("origin.conf"));
    let contestants = contestants(&origin, &options);
    for (name, server) in &contestants {
        check(name, server);
    }
    let load = Load { seconds: options.seconds, connections: options.connections };
    let mut samples: Vec<Vec<Sample>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..=options.rounds {
        let mut order: Vec<usize> = (0..contestants.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let (name, server) = &contestants[index];
            let sample = load.run(server);
            eprintln!("round {round} {name}: {:.2} us, {:.0}/s", sample.cpu_us(), sample.rate());
            if round > 0 {
                samples[index].push(sample); // round 0 warms up
            }
        }
    }
    print_table(&contestants, &samples, &options);
    ExitCode::SUCCESS
}

struct Options {
    rounds: usize,
    seconds: u64,
    connections: usize,
    without: Vec<String>,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self { rounds: 15, seconds: 2, connections: 50, without: Vec::new() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => {} // cargo says so
                "--rounds" => options.rounds = arguments.next()?.parse().ok()?,
                "--seconds" => options.seconds = arguments.next()?.parse().ok()?,
                "--connections" => options.connections = arguments.next()?.parse().ok()?,
                "--without" => options.without.push(arguments.next()?),
                _ => return None,
            }
        }
        Some(options).filter(|it| it.rounds > 0)
    }
}

fn contestants(origin: &Server, options: &Options) -> Vec<(&'static str, Server)> {
    let all = [
        ("nginx", Kind::Nginx, include_str!("nginx.conf")),
        (REFERENCE, Kind::Nginx, include_str!("canary.conf")),
        ("moongate", Kind::Moongate, include_str!("canary.conf")),
    ];
    let wanted = all.into_iter().filter(|(name, ..)| !options.without.iter().any(|it| it == name));
    wanted
        .map(|(name, kind, conf)| {
            let address = |port| format!("127.0.0.1:{}", origin.named_port(port));
            let setup = Setup::new(kind).pinned(0);
            let setup = setup.with("STABLE", address("PORT")).with("CANARY", address("PORT2"));
            (name, setup.start(conf))
        })
        .collect()
}

/// Both variants answer, with the same body and the same header, or the numbers mean nothing.
fn check(name: &str, server: &Server) {
    for (field, body, backend) in [
        ("", "hello, stable v1\n", "stable"),
        ("X-Canary-Version: v2\r\n", "hello, canary v2\n", "canary"),
    ] {
        let response = harness::client::request(server.port(), "GET", "/api/users?id=1", field);
        assert_eq!(response.status(), 200, "{name}");
        assert_eq!(response.text(), body, "{name}");
        assert_eq!(response.header("x-backend"), Some(backend), "{name}");
    }
}

fn print_table(contestants: &[(&str, Server)], samples: &[Vec<Sample>], options: &Options) {
    let reference = contestants.iter().position(|(name, _)| *name == REFERENCE);
    println!(
        "{} rounds of {} s, {} connections, one worker each; medians.\n",
        options.rounds, options.seconds, options.connections
    );
    println!("| | CPU µs/request | user | system | requests/s | p99 ms | ratio | 95 % interval |");
    println!("|---|---|---|---|---|---|---|---|");
    for ((name, _), own) in contestants.iter().zip(samples) {
        let of = |value: fn(&Sample) -> f64| median(own.iter().map(value));
        let ratios: Vec<f64> = reference.map_or(Vec::new(), |it| {
            own.iter().zip(&samples[it]).map(|(a, b)| a.cpu_us() / b.cpu_us()).collect()
        });
        let (low, high) = bootstrap(&ratios);
        println!(
            "| {name} | {:.2} | {:.2} | {:.2} | {:.0} | {:.2} | {:.3} | {low:.3}-{high:.3} |",
            of(Sample::cpu_us),
            of(|it| it.user_us()),
            of(|it| it.system_us()),
            of(Sample::rate),
            of(|it| it.p99_ms),
            median(ratios.iter().copied()),
        );
    }
}
