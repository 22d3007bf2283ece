//! What a request costs on Moongate, beside nginx, nginx with Lua and haproxy with Lua, on the same
//! machine in the same minutes: the servers take turns, each on core 0; load and origin on core 1.
//!
//!     cargo bench --bench side_by_side -- [--rounds N] [--seconds N] [--rows NAME,…]
//!         [--only NAME] [--without NAME] [--readme] [--profile]
//!
//! Before anything is measured, all servers must give the same answers and send the origin the
//! same. `--readme` writes the result between README's markers. `--profile` counts instructions and
//! system calls instead (valgrind, strace). `MOONGATE_TEST_BINARY=PATH` measures a binary as it is;
//! `--profile dev-opt` behind `cargo bench` builds faster than release. It needs what
//! `sh tests/setup.sh bench` installs.

mod check;
mod contestant;
mod growth;
#[expect(dead_code, reason = "the integration tests need more of it")]
#[path = "../../tests/it/harness/mod.rs"]
mod harness;
mod lua_api;
mod measure;
mod profile;
mod readme;
mod report;
mod rows;
mod statistics;
mod usage;

use contestant::{Contestant, NAMES, Surroundings};
use harness::server::{Kind, Server, Setup};
use measure::{Load, Sample};
use report::Measured;
use rows::{ROWS, Row, Stage};
use std::process::ExitCode;

/// The fields of a browser's request, and the one that decides.
pub const FIELDS: [&str; 5] = [
    "X-Canary-Version: v2",
    "Accept: */*",
    "User-Agent: Mozilla/5.0 bench",
    "Authorization: Bearer abcdefg",
    "Accept-Encoding: gzip",
];

fn main() -> ExitCode {
    let Some(options) = Options::read(std::env::args().skip(1)) else {
        eprintln!(
            "usage: [--rounds N] [--seconds N] [--rows NAME,…] [--only NAME] [--without NAME] \
             [--readme] [--profile]\nservers: {}\nrows: {}, {}, {}",
            NAMES.join(", "),
            ROWS.iter().map(|it| it.name).collect::<Vec<_>>().join(", "),
            growth::NAMES.join(", "),
            lua_api::NAME,
        );
        return ExitCode::FAILURE;
    };
    let origin = origin();
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let certificates = contestant::certificates(folder.path());
    let around = Surroundings { origin: &origin, certificates: &certificates };
    if options.profile {
        profile::run(&around);
        return ExitCode::SUCCESS;
    }
    let mut measured = Vec::new();
    for stage in Stage::ALL {
        let rows: Vec<&Row> =
            ROWS.iter().filter(|it| it.stage == stage && options.wants(it.name)).collect();
        if !rows.is_empty() {
            measured.extend(run_stage(&around, stage, &rows, &options));
        }
    }
    println!("{}\n", report::circumstances(&options));
    print!("{}", report::whole(&measured));
    let lua = lua_api::run(&around, &options);
    let growth = growth::run(&around, &options);
    print!("{lua}{}", growth.text());
    if options.readme {
        readme::write(&measured, &growth, &options);
    }
    ExitCode::SUCCESS
}

/// The origin, on core 1.
fn origin() -> Server {
    let setup = Setup::new(Kind::Nginx).pinned(1);
    let html = setup.prefix().join("html");
    for (name, size) in [("16k", 16 << 10), ("10m", 10 << 20)] {
        std::fs::write(html.join(name), vec![b'x'; size]).expect("a file in a new folder");
    }
    setup.start(include_str!("origin.conf"))
}

/// Starts the servers of a stage, compares their answers, and lets them take turns.
fn run_stage(
    around: &Surroundings<'_>,
    stage: Stage,
    rows: &[&Row],
    options: &Options,
) -> Vec<Measured> {
    let mut contestants = Vec::new();
    for name in NAMES.into_iter().filter(|it| options.takes(it)) {
        match around.start(name, stage) {
            Ok(contestant) => contestants.push(contestant),
            Err(why) => println!("{name} is not there for {stage:?}: {why}\n"),
        }
    }
    check::same_answers(&contestants, stage, rows);
    rounds(&contestants, rows, options.rounds, options.seconds)
}

/// Lets the servers take turns on every row.
pub fn rounds(
    contestants: &[Contestant],
    rows: &[&Row],
    rounds: usize,
    seconds: u64,
) -> Vec<Measured> {
    let mut measured: Vec<Measured> = rows.iter().map(|row| Measured::of(row)).collect();
    for round in 0..=rounds {
        for measured in &mut measured {
            let row = measured.row;
            for contestant in in_turn(contestants, round) {
                if !check::takes_part(&row, contestant.name) {
                    continue;
                }
                let sample = load(&row, contestant, seconds);
                let (name, us) = (contestant.name, sample.cpu_us());
                eprintln!("round {round} {} {name}: {us:.2} us, {:.0}/s", row.name, sample.rate());
                if round > 0 {
                    measured.add(contestant.name, sample); // round 0 warms up
                }
            }
        }
    }
    measured
}

/// They start in another order each round.
pub fn in_turn(contestants: &[Contestant], round: usize) -> Vec<&Contestant> {
    let mut order: Vec<&Contestant> = contestants.iter().collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

fn load(row: &Row, contestant: &Contestant, seconds: u64) -> Sample {
    let (port, scheme) = row.place();
    let mut fields = FIELDS.to_vec();
    fields.extend(row.field);
    let url = format!("{scheme}://127.0.0.1:{}{}", contestant.port(port), row.path);
    let load = Load { tool: row.tool, seconds, connections: row.connections, url, fields: &fields };
    load.run(contestant.pid())
}

/// What the command line says.
pub struct Options {
    /// Behind one that warms up.
    pub rounds: usize,
    /// Of each load.
    pub seconds: u64,
    rows: Vec<String>,
    only: Vec<String>,
    without: Vec<String>,
    readme: bool,
    profile: bool,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            rounds: 15,
            seconds: 2,
            rows: Vec::new(),
            only: Vec::new(),
            without: Vec::new(),
            readme: false,
            profile: false,
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => {} // cargo says so
                "--rounds" => options.rounds = arguments.next()?.parse().ok()?,
                "--seconds" => options.seconds = arguments.next()?.parse().ok()?,
                "--rows" => options.rows.extend(arguments.next()?.split(',').map(str::to_owned)),
                "--only" => options.only.push(arguments.next()?),
                "--without" => options.without.push(arguments.next()?),
                "--readme" => options.readme = true,
                "--profile" => options.profile = true,
                _ => return None,
            }
        }
        let is_row = |name: &str| {
            let rows = ROWS.iter().map(|it| it.name).chain(growth::NAMES).chain([lua_api::NAME]);
            rows.into_iter().any(|it| it == name)
        };
        let is_known = options.rows.iter().all(|it| is_row(it))
            && options.only.iter().chain(&options.without).all(|it| NAMES.contains(&it.as_str()));
        Some(options).filter(|it| is_known && it.rounds > 0 && it.seconds > 0)
    }

    /// Whether this row was asked for; without `--rows` all are.
    pub fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|it| it == row)
    }

    /// Whether this server takes part.
    pub fn takes(&self, name: &str) -> bool {
        let is_in = self.only.is_empty() || self.only.iter().any(|it| it == name);
        is_in && !self.without.iter().any(|it| it == name)
    }
}
