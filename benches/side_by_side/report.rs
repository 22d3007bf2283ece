//! What was measured, as Markdown.

use crate::Options;
use crate::contestant::{MOONGATE, NAMES, REFERENCE};
use crate::measure::Sample;
use crate::rows::Row;
use crate::statistics::{bootstrap, median};
use crate::usage::MIB;
use std::fmt::Write;
use std::fs;
use std::process::Command;

/// The samples of a row, a list a server, in the order of rounds.
pub struct Measured {
    pub row: Row,
    pub title: String,
    servers: Vec<(&'static str, Vec<Sample>)>,
}

impl Measured {
    /// Of nothing yet.
    pub fn of(row: &Row) -> Self {
        Self { row: *row, title: row.title.to_owned(), servers: Vec::new() }
    }

    /// One more sample.
    pub fn add(&mut self, name: &'static str, sample: Sample) {
        match self.servers.iter_mut().find(|it| it.0 == name) {
            Some((_, samples)) => samples.push(sample),
            None => self.servers.push((name, vec![sample])),
        }
    }

    /// The servers that took part, in the table's order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().filter(|it| !self.samples(it).is_empty())
    }

    /// The samples of a server; none if it did not take part.
    pub fn samples(&self, name: &str) -> &[Sample] {
        self.servers.iter().find(|it| it.0 == name).map_or(&[], |it| &it.1)
    }

    /// The median of something; NaN when the server did not take part.
    pub fn median(&self, name: &str, value: fn(&Sample) -> f64) -> f64 {
        median(self.samples(name).iter().map(value))
    }

    /// CPU time beside the reference's, paired by round: the median and its 95 % interval.
    pub fn ratio(&self, name: &str) -> (f64, f64, f64) {
        let pairs = self.samples(name).iter().zip(self.samples(REFERENCE));
        let ratios: Vec<f64> = pairs.map(|(own, its)| own.cpu_us() / its.cpu_us()).collect();
        let (low, high) = bootstrap(&ratios);
        (median(ratios.iter().copied()), low, high)
    }
}

/// How it was measured, in a sentence.
pub fn circumstances(options: &Options) -> String {
    let (rounds, seconds) = (options.rounds, options.seconds);
    format!(
        "{}\n{rounds} rounds of {seconds} s in turns, one worker each; 50 connections where \
         nothing else is said;\naccess log on, Moongate's metrics too. Medians; CPU of all threads \
         and processes of a server.",
        machine()
    )
}

/// The machine and the versions.
fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = cpu.lines().filter(|it| it.starts_with("processor")).count();
    let model = cpu.lines().find_map(|it| it.strip_prefix("model name")?.split_once(": "));
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = system.lines().find_map(|it| it.strip_prefix("PRETTY_NAME=")).unwrap_or("?");
    let haproxy =
        version("/usr/sbin/haproxy", &["-v"], "version ").unwrap_or_else(|| "not there".into());
    let nginx = version("/usr/sbin/nginx", &["-v"], "nginx/").unwrap_or_default();
    let module = version("dpkg-query", &["-W", "libnginx-mod-http-lua"], "\t");
    format!(
        "{cores} CPUs {}, {}; nginx {nginx} with lua-nginx-module {}, haproxy {haproxy}.",
        model.map_or("?", |it| it.1.trim()),
        system.trim_matches('"'),
        module.unwrap_or_default(),
    )
}

/// The version in what a program says of itself, behind `marker`, without Debian's suffix.
fn version(program: &str, arguments: &[&str], marker: &str) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let rest = text.split_once(marker)?.1;
    let word = rest.split([' ', '\n', '-', '+']).next()?;
    // An epoch, as in `1:0.10.23`.
    Some(word.rsplit(':').next().unwrap_or(word).to_owned())
}

/// Every number.
pub fn whole(all: &[Measured]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut text = "| | server | CPU µs/request | user | system | requests/s | p99 ms | peak MiB \
         | ratio | 95 % interval |\n|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for measured in all {
        for (index, name) in measured.names().enumerate() {
            let of = |value: fn(&Sample) -> f64, digits| cell(measured.median(name, value), digits);
            let (ratio, low, high) = measured.ratio(name);
            let cells = [
                if index == 0 { measured.title.clone() } else { String::new() },
                name.to_owned(),
                of(Sample::cpu_us, 2),
                of(Sample::user_us, 2),
                of(Sample::system_us, 2),
                of(Sample::rate, 0),
                of(|it| it.p99_ms, 2),
                of(|it| it.peak_kib / MIB, 0),
                cell(ratio, 3),
                interval(low, high),
            ];
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
    }
    text + "\n" + &lua_share(all)
}

/// What Lua adds to a request, paired by round; nothing when the rows for it were not measured.
pub fn lua_share(all: &[Measured]) -> String {
    let find = |name: &str| all.iter().find(|it| it.row.name == name);
    let (Some(with), Some(without)) = (find("get"), find("no-lua")) else {
        return String::new();
    };
    if [REFERENCE, MOONGATE].iter().any(|it| with.samples(it).is_empty()) {
        return String::new();
    }
    let share = |name: &str| {
        let pairs = with.samples(name).iter().zip(without.samples(name));
        median(pairs.map(|(with, without)| with.cpu_us() - without.cpu_us()))
    };
    format!(
        "Lua's own share of a request: {:.2} µs in {REFERENCE}, {:.2} µs in {MOONGATE}.\n",
        share(REFERENCE),
        share(MOONGATE)
    )
}

/// A number for a table, with so many digits behind the point; a dash for none.
pub fn cell(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "–".into() }
}

/// An interval for a table.
pub fn interval(low: f64, high: f64) -> String {
    if low.is_finite() { format!("{low:.2}-{high:.2}") } else { "–".into() }
}
