//! One run of wrk or h2load against one server, and what it cost that server.

use crate::usage::{Spent, Usage, forget_peak, peak_kib};
use std::fs;
use std::path::Path;
use std::process::Command;

/// How a load is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// wrk, with a script of this folder.
    Wrk(Option<&'static str>),
    /// h2load: HTTP/2, so many streams at once on each connection.
    H2load(usize),
    /// h2load with HTTP/1: so many requests a second, whoever serves them.
    Paced(usize),
}

/// A load.
pub struct Load<'a> {
    pub tool: Tool,
    pub seconds: u64,
    pub connections: usize,
    pub url: String,
    pub fields: &'a [&'a str],
}

/// What one run gave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub requests: f64,
    pub seconds: f64,
    pub p99_ms: f64,
    /// CPU of all threads and processes of the server.
    pub spent: Spent,
    /// The most memory that was resident, KiB.
    pub peak_kib: f64,
}

impl Sample {
    /// CPU microseconds a request.
    pub fn cpu_us(&self) -> f64 {
        self.user_us() + self.system_us()
    }

    /// Those in user space.
    pub fn user_us(&self) -> f64 {
        self.spent.user / self.requests * 1e6
    }

    /// Those in the kernel.
    pub fn system_us(&self) -> f64 {
        self.spent.system / self.requests * 1e6
    }

    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.requests / self.seconds
    }
}

impl Load<'_> {
    /// Runs it on core 1 against the server with this process.
    ///
    /// # Panics
    /// When the tool fails or reports any failed request.
    pub fn run(&self, pid: u32) -> Sample {
        forget_peak(pid);
        let before = Usage::of(pid);
        let (requests, seconds, p99_ms) = match self.tool {
            Tool::Wrk(script) => self.wrk(script),
            Tool::H2load(streams) => self.h2load(&[format!("-m{streams}")]),
            Tool::Paced(rate) => {
                let each = rate as f64 / self.connections as f64;
                self.h2load(&["--h1".into(), format!("--rps={each}")])
            }
        };
        let spent = Usage::of(pid).since(&before);
        Sample { requests, seconds, p99_ms, spent, peak_kib: peak_kib(pid) }
    }

    fn wrk(&self, script: Option<&str>) -> (f64, f64, f64) {
        let mut command = Command::new("taskset");
        command.args(["-c", "1", "wrk", "-t1", "--latency", "--timeout", "30s"]);
        command.arg(format!("-c{}", self.connections)).arg(format!("-d{}s", self.seconds));
        for field in self.fields {
            command.args(["-H", field]);
        }
        if let Some(script) = script {
            command.arg("-s").arg(folder().join(script));
        }
        command.arg(&self.url).arg("--").arg(self.connections.to_string());
        let text = said(&mut command);
        let fine = !text.contains("Non-2xx") && !text.contains("errors");
        assert!(fine, "wrk: {text}");
        let (requests, seconds) = wrk_total(&text).unwrap_or_else(|| panic!("wrk said: {text}"));
        let p99 = text.lines().find_map(|it| it.trim().strip_prefix("99%"));
        (requests, seconds, p99.and_then(|it| milliseconds(it.trim())).unwrap_or(f64::NAN))
    }

    fn h2load(&self, options: &[String]) -> (f64, f64, f64) {
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut command = Command::new("taskset");
        command.args(["-c", "1", "h2load", "-t1"]).arg(format!("-c{}", self.connections));
        command.args(options).arg(format!("-D{}", self.seconds));
        command.arg(format!("--log-file={}", log.path().display()));
        for field in self.fields {
            command.args(["-H", field]);
        }
        let text = said(command.arg(&self.url));
        let (done, failed) = h2load_total(&text).unwrap_or_else(|| panic!("h2load: {text}"));
        assert!(done > 0.0 && failed == 0.0, "h2load: {text}");
        (done, self.seconds as f64, p99_of_log(log.path()))
    }
}

/// Where the scripts and configurations of this benchmark are.
pub fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/side_by_side")
}

/// What a command prints; it must succeed.
pub fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}{errors}", output.status);
    text
}

/// `  12345 requests in 2.00s, 1.23MB read`.
fn wrk_total(text: &str) -> Option<(f64, f64)> {
    let line = text.lines().find(|it| it.contains(" requests in "))?;
    let (requests, rest) = line.trim().split_once(" requests in ")?;
    let seconds = rest.split(',').next()?;
    Some((requests.parse().ok()?, milliseconds(seconds)? / 1e3))
}

/// `requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout`: how many
/// succeeded, how many did not.
fn h2load_total(text: &str) -> Option<(f64, f64)> {
    let line = text.lines().find_map(|it| it.strip_prefix("requests: "))?;
    let count = |word: &str| -> Option<f64> {
        line.split(", ").find_map(|it| it.strip_suffix(word)?.trim().parse().ok())
    };
    Some((count("succeeded")?, count("failed")? + count("errored")? + count("timeout")?))
}

/// The third column of h2load's log: microseconds of each request.
fn p99_of_log(path: &Path) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut times: Vec<f64> =
        text.lines().filter_map(|it| it.split('\t').nth(2)?.parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).map_or(f64::NAN, |it| it / 1e3)
}

/// wrk's `1.20us`, `4.18ms`, `2.00s`, `1.50m`.
fn milliseconds(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|it: char| it.is_alphabetic());
    let scale = match &text[digits.len()..] {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 6e4,
        _ => return None,
    };
    Some(digits.parse::<f64>().ok()? * scale)
}
