//! Sandboxes side by side: each a process of `sandbox.sh` that gets the names of files and
//! says the verdict of each block.

use super::lists::{Block, home};
use serde_json::Value;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

/// Sandboxes at a time: blocks wait more than they work, and two processors have enough of these.
pub const SIDE_BY_SIDE: usize = 5;

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

/// Runs all jobs in so many sandboxes side by side: the verdicts, in no order, and the jobs that
/// were not begun by `until`.
pub fn run(
    server: &Server,
    jobs: Vec<Job>,
    side_by_side: usize,
    until: Option<Instant>,
) -> (Vec<Verdict>, Vec<Job>) {
    let verdicts = Mutex::new(Vec::new());
    let workers = side_by_side.min(jobs.len());
    // What takes long comes first, lest all wait for it in the end.
    let queue = Mutex::new(jobs.into_iter().rev().collect::<Vec<_>>());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| serve(server, &queue, &verdicts, until));
        }
    });
    let left = queue.into_inner().expect("no thread panicked");
    (verdicts.into_inner().expect("no thread panicked"), left)
}

/// Takes jobs from the queue until there is none, or the time is up, in a sandbox for each suite
/// that it comes to.
fn serve(
    server: &Server,
    queue: &Mutex<Vec<Job>>,
    verdicts: &Mutex<Vec<Verdict>>,
    until: Option<Instant>,
) {
    let mut sandbox: Option<Sandbox> = None;
    while until.is_none_or(|it| Instant::now() < it) {
        let job = queue.lock().expect("no thread panicked").pop();
        let Some(job) = job else { break };
        let mut current = match sandbox.take() {
            Some(it) if it.suite == job.suite => it,
            _ => Sandbox::open(server, &job.suite),
        };
        let found = current.run(&job);
        verdicts.lock().expect("no thread panicked").extend(found);
        sandbox = Some(current);
    }
}

/// A process of `sandbox.sh`.
struct Sandbox {
    suite: String,
    process: Child,
    orders: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Sandbox {
    fn open(server: &Server, suite: &str) -> Self {
        let mut process = Command::new("sh")
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
        let orders = process.stdin.take();
        let lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        Self { suite: suite.to_owned(), process, orders, lines }
    }

    /// The verdicts of a file's blocks, as far as it comes to its end.
    fn run(&mut self, job: &Job) -> Vec<Verdict> {
        let orders = self.orders.as_mut().expect("stdin is piped");
        writeln!(orders, "t/{} {}", job.file, job.blocks.join(",")).expect("the sandbox runs");
        let mut verdicts = Vec::new();
        loop {
            let Some(Ok(line)) = self.lines.next() else { panic!("the sandbox ended early") };
            if let Some(done) = line.strip_prefix("done t/") {
                eprintln!("{} {done} s", self.suite);
                return verdicts;
            }
            verdicts.push(verdict(job, &line));
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.process.wait();
    }
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
