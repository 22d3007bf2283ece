//! Instructions and system calls of a request, counted: exact where CPU time is not. Allocations
//! are counted by `cargo test --test allocations -- --nocapture`.

use crate::contestant::{MOONGATE, REFERENCE, Surroundings};
use crate::harness::client::Client;
use crate::harness::server::{Kind, Server};
use crate::measure::said;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Requests that are counted, behind as many that warm up.
const REQUESTS: u32 = 5000;

/// The canary's GET of 17 bytes on one connection, counted on both servers.
pub fn run(around: &Surroundings<'_>) {
    println!("A GET of 17 bytes through canary.conf, {REQUESTS} of them on one connection.\n");
    for (name, kind) in [(REFERENCE, Kind::Nginx), (MOONGATE, Kind::Moongate)] {
        match instructions(around, kind) {
            Ok(count) => println!("{name}: {count:.0} user instructions a request"),
            Err(why) => println!("{name}: instructions not counted: {why}"),
        }
        match system_calls(around, kind) {
            Ok(calls) => {
                let list: Vec<String> =
                    calls.iter().map(|(call, count)| format!("{call} {count:.3}")).collect();
                println!("{name}: system calls a request: {}\n", list.join(", "));
            }
            Err(why) => println!("{name}: system calls not counted: {why}\n"),
        }
    }
}

fn is_there(program: &str) -> Result<(), String> {
    let found = Path::new("/usr/bin").join(program).exists();
    if found { Ok(()) } else { Err(format!("apt-get install {program}")) }
}

fn instructions(around: &Surroundings<'_>, kind: Kind) -> Result<f64, String> {
    is_there("valgrind")?;
    let folder = tempfile::TempDir::new().map_err(|it| it.to_string())?;
    let out = format!("--callgrind-out-file={}/out", folder.path().display());
    let setup =
        around.setup(kind).under(&["valgrind", "-q", "--fair-sched=yes", "--tool=callgrind", &out]);
    let server = setup.start(include_str!("canary.conf"));
    ask(&server, REQUESTS);
    let pid = server.pid().to_string();
    said(Command::new("callgrind_control").args(["-z", &pid]));
    ask(&server, REQUESTS);
    said(Command::new("callgrind_control").args(["-d", &pid]));
    // The dump is `out.1`, or `out.1-02` a thread.
    let mut total = 0.0;
    for entry in std::fs::read_dir(folder.path()).map_err(|it| it.to_string())?.flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let line = text.lines().find_map(|it| it.strip_prefix("totals: "));
        total += line.and_then(|it| it.trim().parse::<f64>().ok()).unwrap_or(0.0);
    }
    if total > 0.0 { Ok(total / f64::from(REQUESTS)) } else { Err("no dump".into()) }
}

fn system_calls(around: &Surroundings<'_>, kind: Kind) -> Result<BTreeMap<String, f64>, String> {
    is_there("strace")?;
    let folder = tempfile::TempDir::new().map_err(|it| it.to_string())?;
    let out = folder.path().join("calls");
    let out = out.to_str().ok_or("a folder with a name")?;
    let server = around
        .setup(kind)
        .under(&["strace", "-D", "-f", "-o", out])
        .start(include_str!("canary.conf"));
    ask(&server, REQUESTS);
    let read = || std::fs::read_to_string(out).map_err(|it| it.to_string());
    let before = read()?.len();
    ask(&server, REQUESTS);
    let text = read()?;
    let mut calls = BTreeMap::new();
    for line in text[before..].lines() {
        let call = line.split_whitespace().nth(1).and_then(|it| it.split_once('('));
        if let Some((name, _)) = call {
            *calls.entry(name.to_owned()).or_insert(0.0) += 1.0 / f64::from(REQUESTS);
        }
    }
    calls.retain(|_, count| *count >= 0.001);
    Ok(calls)
}

fn ask(server: &Server, count: u32) {
    // valgrind makes a start of seconds, and of a minute on a busy machine.
    let patience = Duration::from_secs(300);
    let client = Client::connect(server.port()).and_then(|it| it.patience(patience));
    let mut client = client.expect("it listens");
    let fields = crate::FIELDS.map(|it| format!("{it}\r\n")).concat();
    for _ in 0..count {
        let response = client.request("GET", "/api/users?id=1", &fields).expect("it answers");
        assert_eq!(response.status(), 200);
    }
}
