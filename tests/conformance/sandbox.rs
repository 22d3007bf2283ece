//! Two sandboxes side by side: each a process of `sandbox.sh` that gets the names of files and
//! says the verdict of each block.

use super::lists::{Block, home};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

/// Sandboxes at a time.
const SIDE_BY_SIDE: usize = 2;

/// What a server is given, and how.
#[derive(Clone, Debug)]
pub struct Server {
    /// The program.
    pub binary: PathBuf,
    /// What its configurations begin with, on the line of `main_config`.
    pub main: String,
    /// What their `http` begins with.
    pub http: String,
}

/// A piece of work: a file of a suite, or some blocks of it.
#[derive(Clone, Debug)]
pub struct Job {
    /// As in `SUITES`.
    pub suite: String,
    /// `002-content.t`, or `023-rewrite/sanity.t`.
    pub file: String,
    /// `TEST 3`; all of them if there is none.
    pub blocks: Vec<String>,
}

/// How a block ended.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Which.
    pub block: Block,
    /// `pass`, `fail`, `skip` or `refused`.
    pub word: String,
    /// What spoke against it.
    pub because: Vec<String>,
}

/// Runs all jobs; the verdicts in no order.
pub fn run(server: &Server, jobs: Vec<Job>) -> Vec<Verdict> {
    let mut suites: Vec<String> = jobs.iter().map(|it| it.suite.clone()).collect();
    suites.dedup();
    let verdicts = Mutex::new(Vec::new());
    for suite in suites {
        let of_suite = jobs.iter().rev().filter(|it| it.suite == suite).cloned();
        let queue = Mutex::new(of_suite.collect::<Vec<_>>());
        thread::scope(|scope| {
            for _ in 0..SIDE_BY_SIDE.min(queue.lock().expect("no thread panicked").len()) {
                scope.spawn(|| serve(server, &suite, &queue, &verdicts));
            }
        });
    }
    verdicts.into_inner().expect("no thread panicked")
}

/// One sandbox: takes jobs from the queue until there is none.
fn serve(server: &Server, suite: &str, queue: &Mutex<Vec<Job>>, verdicts: &Mutex<Vec<Verdict>>) {
    let mut sandbox = Command::new("sh")
        .arg(home().join("sandbox.sh"))
        .arg(&server.binary)
        .arg(folder(suite))
        .env("CONFORMANCE_MAIN", &server.main)
        .env("CONFORMANCE_HTTP", &server.http)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("sh is there");
    let mut orders = sandbox.stdin.take().expect("stdin is piped");
    let mut lines = BufReader::new(sandbox.stdout.take().expect("stdout is piped")).lines();
    loop {
        let job = queue.lock().expect("no thread panicked").pop();
        let Some(job) = job else { break };
        writeln!(orders, "t/{} {}", job.file, job.blocks.join(",")).expect("the sandbox runs");
        loop {
            let Some(Ok(line)) = lines.next() else { panic!("the sandbox ended early") };
            if let Some(done) = line.strip_prefix("done t/") {
                eprintln!("{suite} {done} s");
                break;
            }
            let verdict = verdict(&job, &line);
            verdicts.lock().expect("no thread panicked").push(verdict);
        }
    }
    drop(orders);
    let _ = sandbox.wait();
}

/// Where a suite is unpacked.
pub fn folder(suite: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/suites").join(suite)
}

/// The verdict that a line of JSON says.
fn verdict(job: &Job, line: &str) -> Verdict {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let name = text("block").trim_start_matches("TEST ").replace([' ', ',', ':'], "_");
    let because = value["because"].as_array().into_iter().flatten();
    Verdict {
        block: Block { suite: job.suite.clone(), file: job.file.clone(), name },
        word: text("verdict"),
        because: because.filter_map(|it| it.as_str().map(str::to_owned)).collect(),
    }
}
