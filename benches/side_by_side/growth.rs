//! What grows with what: workers, locations and upstreams, connections; and memory.

use crate::check;
use crate::contestant::{Contestant, MOONGATE, NGINX, REFERENCE, Surroundings};
use crate::harness::server::Kind;
use crate::measure::{Sample, folder};
use crate::report::{Measured, cell};
use crate::rows::{ROWS, Row, Stage};
use crate::usage::{MIB, resident_kib};
use crate::{FIELDS, Options, rounds};
use std::fmt::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// What `--rows` calls them.
pub const NAMES: [&str; 4] = ["workers", "locations", "connections", "memory"];

/// The report.
#[derive(Default)]
pub struct Growth {
    /// A row for each number of workers, locations or connections.
    pub measured: Vec<Measured>,
    /// Lines about memory.
    pub memory: String,
}

/// These run the same configuration.
const BOTH: [(&str, Kind); 2] = [(REFERENCE, Kind::Nginx), (MOONGATE, Kind::Moongate)];

/// What a start still does, before memory is looked at.
const SETTLING: Duration = Duration::from_millis(500);

/// Measures what was asked for; in fewer rounds, for there are many.
pub fn run(around: &Surroundings<'_>, options: &Options) -> Growth {
    let mut growth = Growth::default();
    let measured = &mut growth.measured;
    if options.wants(NAMES[0]) {
        measured.extend([1, 2].iter().flat_map(|it| workers(around, options, *it)));
    }
    if options.wants(NAMES[1]) {
        measured.extend([1, 100, 1000].iter().flat_map(|it| locations(around, options, *it)));
    }
    if options.wants(NAMES[2]) {
        measured.extend(connections(around, options));
    }
    if options.wants(NAMES[3]) {
        growth.memory = starts(around, options) + &memory(around, options);
    }
    growth
}

impl Growth {
    /// All of it, as Markdown.
    pub fn text(&self) -> String {
        let table = if self.measured.is_empty() { String::new() } else { table(&self.measured) };
        table + &self.memory
    }
}

fn servers(
    around: &Surroundings<'_>,
    options: &Options,
    text: &str,
    pinned: bool,
) -> Vec<Contestant> {
    let both = BOTH.into_iter().filter(|(name, _)| options.takes(name));
    both.map(|(name, kind)| {
        let setup = around.setup(kind);
        let setup = if pinned { setup.pinned(0) } else { setup.with_master() };
        Contestant::of(name, setup.start(text))
    })
    .collect()
}

fn measure(
    contestants: &[Contestant],
    options: &Options,
    row: Row,
    backend: &str,
    title: String,
) -> Vec<Measured> {
    check::same_row(contestants, &row, backend);
    // To open thousands of connections takes wrk a while.
    let seconds = options.seconds + row.connections as u64 / 1000;
    let mut measured = rounds(contestants, &[&row], options.rounds.min(5), seconds);
    measured.iter_mut().for_each(|it| it.title.clone_from(&title));
    measured
}

/// They may use both cores, which load and origin need as well: all that two cores can show.
fn workers(around: &Surroundings<'_>, options: &Options, count: usize) -> Vec<Measured> {
    let contestants = servers(around, options, &with_workers(count), false);
    measure(&contestants, options, ROWS[0], "canary", format!("workers, not pinned: {count}"))
}

fn with_workers(count: usize) -> String {
    let one = "worker_processes 1;";
    include_str!("canary.conf").replace(one, &format!("worker_processes {count};"))
}

/// So many upstreams, and as many locations that each decide between two of them.
fn locations(around: &Surroundings<'_>, options: &Options, count: usize) -> Vec<Measured> {
    let (mut upstreams, mut places) = (String::new(), String::new());
    for index in 0..count {
        let _ = writeln!(upstreams, "upstream u{index} {{ server $CANARY; keepalive 256; }}");
        let _ = writeln!(
            places,
            "location /api/{index}/ {{ set $backend stable; access_by_lua_block {{
               if ngx.var.http_x_canary_version == \"v2\" then ngx.var.backend = \"u{index}\" end
             }} proxy_pass http://$backend; }}"
        );
    }
    let text = include_str!("canary.conf").replacen(
        "server {\n",
        &format!("{upstreams}server {{\n{places}"),
        1,
    );
    let contestants = servers(around, options, &text, true);
    let middle = count / 2;
    let path: &'static str = Box::leak(format!("/api/{middle}/users").into_boxed_str());
    let row = Row { path, ..ROWS[0] };
    let title = format!("locations and upstreams: {count}");
    measure(&contestants, options, row, &format!("u{middle}"), title)
}

/// As far as 20000 descriptors go, for each client's connection may need one to the origin.
fn connections(around: &Surroundings<'_>, options: &Options) -> Vec<Measured> {
    let contestants = servers(around, options, include_str!("canary.conf"), true);
    let counts = [1, 10, 100, 1000, 9000];
    let rows = counts.map(|connections| Row { connections, ..ROWS[0] });
    let measure = |row: Row| {
        let title = format!("connections: {}", row.connections);
        measure(&contestants, options, row, "canary", title)
    };
    rows.into_iter().flat_map(measure).collect()
}

fn table(all: &[Measured]) -> String {
    let mut text = "\n| | server | CPU µs/request | requests/s | p99 ms | ratio |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    for measured in all {
        for name in measured.names() {
            let _ = writeln!(
                text,
                "| {} | {name} | {} | {} | {} | {} |",
                measured.title,
                cell(measured.median(name, Sample::cpu_us), 2),
                cell(measured.median(name, Sample::rate), 0),
                cell(measured.median(name, |it| it.p99_ms), 2),
                cell(measured.ratio(name).0, 3),
            );
        }
    }
    text + "\n"
}

/// Resident memory at the start, by the number of workers.
fn starts(around: &Surroundings<'_>, options: &Options) -> String {
    let mut text = String::new();
    for (name, kind) in BOTH.into_iter().filter(|(name, _)| options.takes(name)) {
        let sizes = [1, 2, 4].map(|workers| {
            let text = with_workers(workers);
            let server = Contestant::of(name, around.setup(kind).with_master().start(&text));
            thread::sleep(SETTLING);
            format!("{:.0} MiB", resident_kib(server.pid()) / MIB)
        });
        let sizes = sizes.join(", ");
        let _ = writeln!(text, "- {name}: {sizes} at the start with 1, 2, 4 workers.");
    }
    text
}

/// Resident memory at the start, and what 1000 connections add that have asked once and are idle.
fn memory(around: &Surroundings<'_>, options: &Options) -> String {
    const COUNT: usize = 1000;
    let mut text = String::new();
    for (stage, scheme) in [(Stage::Plain, "http"), (Stage::Tls, "https")] {
        let what = if stage == Stage::Tls { " with TLS" } else { "" };
        for name in [NGINX, REFERENCE, MOONGATE].into_iter().filter(|it| options.takes(it)) {
            let Ok(contestant) = around.start(name, stage) else {
                println!("{name} is not there for {stage:?}\n");
                continue;
            };
            thread::sleep(SETTLING);
            let fresh = resident_kib(contestant.pid());
            let url = format!("{scheme}://127.0.0.1:{}/api/users?id=1", contestant.port("PORT"));
            idle(&url, 20, || {}); // what the first requests need once
            let before = resident_kib(contestant.pid());
            let mut full = 0.0;
            idle(&url, COUNT, || full = resident_kib(contestant.pid()));
            let each = (full - before) / COUNT as f64;
            let _ = writeln!(
                text,
                "- {name}: an idle keep-alive connection{what} holds {each:.1} KiB; {:.0} MiB at \
                 the start.",
                fresh / MIB
            );
        }
    }
    text
}

/// Opens connections that ask once, and looks while they are idle.
fn idle(url: &str, count: usize, look: impl FnOnce()) {
    let mut command = Command::new("taskset");
    command.args(["-c", "1", "wrk", "-t1", "-d6s", "-s"]).arg(folder().join("idle.lua"));
    command.arg(format!("-c{count}")).args(["-H", FIELDS[0], url, "--", &count.to_string()]);
    let mut wrk = command.stdout(Stdio::null()).spawn().expect("taskset and wrk run");
    thread::sleep(Duration::from_secs(4));
    look();
    let status = wrk.wait().expect("it is our child");
    assert!(status.success(), "wrk: {status}");
}
