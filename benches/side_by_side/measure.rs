//! One run of wrk against one server, and what it cost that server.

use crate::harness::server::Server;
use std::fs;
use std::process::Command;

/// How wrk is run.
pub struct Load {
    pub seconds: u64,
    pub connections: usize,
}

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub requests: f64,
    pub seconds: f64,
    pub p99_ms: f64,
    /// CPU seconds of all threads of the server.
    pub user: f64,
    pub system: f64,
}

impl Sample {
    /// CPU microseconds a request.
    pub fn cpu_us(&self) -> f64 {
        self.user_us() + self.system_us()
    }

    /// Those in user space.
    pub fn user_us(&self) -> f64 {
        self.user / self.requests * 1e6
    }

    /// Those in the kernel.
    pub fn system_us(&self) -> f64 {
        self.system / self.requests * 1e6
    }

    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.requests / self.seconds
    }
}

/// The fields of a browser's request, and the one that decides.
const FIELDS: &[&str] = &[
    "X-Canary-Version: v2",
    "Accept: */*",
    "User-Agent: Mozilla/5.0 bench",
    "Authorization: Bearer abcdefg",
    "Accept-Encoding: gzip",
];

impl Load {
    /// Runs wrk on core 1.
    ///
    /// # Panics
    /// When wrk fails or reports any failed request.
    pub fn run(&self, server: &Server) -> Sample {
        let mut command = Command::new("taskset");
        command.args(["-c", "1", "wrk", "-t1", "--latency"]);
        command.arg(format!("-c{}", self.connections)).arg(format!("-d{}s", self.seconds));
        for field in FIELDS {
            command.args(["-H", field]);
        }
        command.arg(format!("http://127.0.0.1:{}/api/users?id=1", server.port()));
        let (user, system) = cpu_seconds(server.pid());
        let output = command.output().expect("taskset and wrk run");
        let (user_after, system_after) = cpu_seconds(server.pid());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let fine = output.status.success() && !text.contains("Non-2xx") && !text.contains("errors");
        assert!(fine, "wrk: {text}{}", String::from_utf8_lossy(&output.stderr));
        let (requests, seconds) = total(&text).unwrap_or_else(|| panic!("wrk said: {text}"));
        Sample {
            requests,
            seconds,
            p99_ms: p99_ms(&text).unwrap_or(f64::NAN),
            user: user_after - user,
            system: system_after - system,
        }
    }
}

/// `  12345 requests in 2.00s, 1.23MB read`.
fn total(text: &str) -> Option<(f64, f64)> {
    let line = text.lines().find(|it| it.contains(" requests in "))?;
    let (requests, rest) = line.trim().split_once(" requests in ")?;
    let seconds = rest.split(',').next()?;
    Some((requests.parse().ok()?, milliseconds(seconds)? / 1e3))
}

/// `     99%    4.18ms`.
fn p99_ms(text: &str) -> Option<f64> {
    milliseconds(text.lines().find_map(|it| it.trim().strip_prefix("99%"))?.trim())
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

/// User and system time of a process, its threads together, the ended ones too.
fn cpu_seconds(pid: u32) -> (f64, f64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server runs");
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> =
        fields.split_whitespace().skip(11).take(2).filter_map(|it| it.parse().ok()).collect();
    // USER_HZ is 100 on every Linux that user space can see.
    (ticks[0] / 100.0, ticks[1] / 100.0)
}
