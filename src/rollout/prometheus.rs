//! Evidence from a Prometheus: a query's answer, and what came since the last one.
//!
//! The answer is an instant vector of **counters**. Each series has the label `canary_version`, a
//! variant's label (others are ignored), and either `code` (`200`, `5xx`: requests; those of 5xx
//! failed) or `le` (a histogram's buckets, in seconds: `+Inf` is all requests, the bucket of the
//! latency limit those that were not slow). Moongate's own `http_requests_total` and
//! `http_request_duration_seconds_bucket` are such.
//!
//! Each series is compared with itself: best is a query that leaves `instance` where it is and sums
//! nothing. An instance that is new, or one of whose counters fell, begins anew in this answer and
//! counts from the next one on, so that neither a restart nor another gateway looks like a burst.

use super::analysis::{Counts, Interval};
use super::exchange::{Url, exchange};
use super::plan::Plan;
use super::state::Seen;
use crate::config::model;
use crate::resolver::Resolver;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// `interval=` by default.
const INTERVAL_MS: u64 = 10_000;
/// The label that names a variant.
const VERSION: &str = "canary_version";
/// Two bucket edges closer than this, seconds, are one.
const SAME_EDGE: f64 = 1e-9;

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// All its labels: which series it is.
    series: String,
    /// The process that it is of: `job` and `instance`.
    process: String,
    version: String,
    what: What,
    value: f64,
}

/// What a series counts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    /// Requests of a code.
    Requests {
        /// They failed.
        failed: bool,
    },
    /// Requests that took so many seconds at most.
    Within(f64),
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Content>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    result_type: String,
    result: serde_json::Value,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    /// When, and how many as text.
    value: (f64, String),
}

/// The series of an answer of `/api/v1/query`.
///
/// # Errors
/// It is none, or it is not counters as described above; why.
pub fn parse(body: &[u8]) -> Result<Vec<Sample>, String> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| "the answer is not Prometheus's".to_owned())?;
    if answer.status != "success" {
        return Err(format!("it answers: {}", answer.error));
    }
    let content = answer.data.ok_or("the answer has no data")?;
    if content.result_type != "vector" {
        let kind = content.result_type;
        return Err(format!("the query gives a {kind}; it must give an instant vector"));
    }
    let series: Vec<Series> = serde_json::from_value(content.result)
        .map_err(|_| "the answer is not Prometheus's".to_owned())?;
    series.into_iter().map(sample).collect()
}

fn sample(series: Series) -> Result<Sample, String> {
    let Series { metric, value: (_, value) } = series;
    let label = |name: &str| metric.get(name).map(String::as_str);
    let shown = format!("{metric:?}");
    let missing = |what: &str| format!("a series has no label {what}: {shown}");
    let version = label(VERSION).ok_or_else(|| missing("\"canary_version\""))?.to_owned();
    let what = match (label("le"), label("code")) {
        (Some(edge), _) => {
            let edge = edge.parse().map_err(|_| format!("\"{edge}\" is no edge: {shown}"))?;
            What::Within(edge)
        }
        (None, Some(code)) => What::Requests { failed: code.starts_with('5') },
        (None, None) => return Err(missing("\"code\" or \"le\"")),
    };
    let process = format!("{:?} {:?}", label("job"), label("instance"));
    let value: f64 = value.parse().unwrap_or(f64::NAN);
    if !value.is_finite() || value < 0.0 {
        return Err(format!("a value is no count: {shown}"));
    }
    Ok(Sample { series: shown, process, version, what, value })
}

/// What makes evidence of answers: it knows the last one.
#[derive(Debug)]
pub struct Reader {
    /// Stable's label, then the canaries'.
    labels: Vec<String>,
    /// The latency limit in seconds.
    slow_s: Option<f64>,
    /// Whether failures are judged.
    has_failures: bool,
    /// Values by series, and the process of each.
    known: HashMap<String, (f64, String)>,
}

/// Requests of one variant since the last answer.
#[derive(Clone, Copy, Debug, Default)]
struct Came {
    codes: Counts,
    timed: u64,
    quick: u64,
}

impl Reader {
    /// One that has seen nothing yet.
    pub fn new(plan: &Plan) -> Self {
        let canaries = plan.canaries.iter().map(|it| it.0.clone());
        Self {
            labels: std::iter::once(plan.stable.clone()).chain(canaries).collect(),
            slow_s: plan.slow.map(|_| seconds(plan.slow_ms)),
            has_failures: plan.failures.is_some(),
            known: HashMap::new(),
        }
    }

    /// What came since the last answer, a canary each; all zero where nothing did.
    ///
    /// # Errors
    /// The answer lacks what a limit is judged by.
    pub fn read(&mut self, samples: &[Sample]) -> Result<Vec<Seen>, String> {
        let ours: Vec<_> = samples.iter().filter(|it| self.labels.contains(&it.version)).collect();
        self.check(&ours)?;
        let before: HashSet<&str> = self.known.values().map(|it| it.1.as_str()).collect();
        let fell = |it: &&&Sample| self.known.get(&it.series).is_some_and(|old| it.value < old.0);
        let restarted: HashSet<&str> = ours.iter().filter(fell).map(|it| &*it.process).collect();
        let mut came = vec![Came::default(); self.labels.len()];
        for it in &ours {
            if !before.contains(&*it.process) || restarted.contains(&*it.process) {
                continue;
            }
            let count = whole(it.value - self.known.get(&it.series).map_or(0.0, |old| old.0));
            let Some(variant) = self.labels.iter().position(|label| *label == it.version) else {
                continue;
            };
            let came = &mut came[variant];
            match it.what {
                What::Requests { failed } => {
                    came.codes.requests += count;
                    came.codes.bad += if failed { count } else { 0 };
                }
                What::Within(edge) if edge.is_infinite() => came.timed += count,
                What::Within(edge) if self.is_limit(edge) => came.quick += count,
                What::Within(_) => {}
            }
        }
        // A series that is missing once may come back, while its process is there.
        let there: HashSet<&str> = ours.iter().map(|it| it.process.as_str()).collect();
        self.known.retain(|_, (_, process)| there.contains(process.as_str()));
        for it in ours {
            self.known.insert(it.series.clone(), (it.value, it.process.clone()));
        }
        Ok(self.seen(&came))
    }

    fn seen(&self, came: &[Came]) -> Vec<Seen> {
        let failures = |it: &Came| match self.has_failures {
            true => it.codes,
            // Requests are counted for `min_requests` all the same.
            false => Counts { requests: it.codes.requests.max(it.timed), bad: 0 },
        };
        let slow =
            |it: &Came| Counts { requests: it.timed, bad: it.timed.saturating_sub(it.quick) };
        let interval = |stable, canary| Interval { stable, canary, all: canary };
        let Some((stable, canaries)) = came.split_first() else { return Vec::new() };
        let of = |it: &Came| Seen {
            failures: interval(failures(stable), failures(it)),
            slow: interval(slow(stable), slow(it)),
        };
        canaries.iter().map(of).collect()
    }

    /// Without any series there is no data, which is no fault of the query.
    fn check(&self, samples: &[&Sample]) -> Result<(), String> {
        let has_codes = samples.iter().any(|it| matches!(it.what, What::Requests { .. }));
        if self.has_failures && !has_codes && !samples.is_empty() {
            let advice = "write \"limit 5xx_rate off\" or ask for them";
            return Err(format!("no series has the label \"code\"; {advice}"));
        }
        let edges = samples.iter().filter_map(|it| match it.what {
            What::Within(edge) => Some(edge),
            What::Requests { .. } => None,
        });
        let edges: Vec<f64> = edges.collect();
        let has_limit = edges.iter().any(|it| self.is_limit(*it));
        match self.slow_s {
            Some(limit) if !has_limit && !samples.is_empty() => Err(format!(
                "no bucket has le=\"{limit}\", the latency limit; write \"limit p99 off\", another \
                 time, or ask for buckets"
            )),
            _ => Ok(()),
        }
    }

    fn is_limit(&self, edge: f64) -> bool {
        self.slow_s.is_some_and(|it| (it - edge).abs() < SAME_EDGE)
    }
}

#[expect(clippy::cast_precision_loss, reason = "limits stay far below 2^53 milliseconds")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are finite and above 0, and what is beyond a u64 saturates"
)]
fn whole(value: f64) -> u64 {
    value.max(0.0).round() as u64
}

/// A query that is asked again and again, and its last answer.
#[derive(Debug)]
pub struct Feed {
    url: Url,
    target: String,
    interval_ms: u64,
    answer: Mutex<Option<Result<Vec<Sample>, String>>>,
}

impl Feed {
    /// The query of an `evidence` line; none where its URL is invalid.
    pub fn new(settings: &model::Prometheus) -> Option<Self> {
        let url = Url::parse(&settings.url)?;
        let path = url.path.trim_end_matches('/');
        let target = format!("{path}/api/v1/query?query={}", escaped(&settings.query));
        let interval_ms = settings.interval_ms.unwrap_or(INTERVAL_MS);
        Some(Self { url, target, interval_ms, answer: Mutex::new(None) })
    }

    /// Between two queries, milliseconds.
    pub fn interval_ms(&self) -> u64 {
        self.interval_ms
    }

    /// The answer that came since the last call.
    pub fn take(&self) -> Option<Result<Vec<Sample>, String>> {
        self.answer.lock().take()
    }

    /// Keeps `answer` until it is taken.
    pub fn put(&self, answer: Result<Vec<Sample>, String>) {
        *self.answer.lock() = Some(answer);
    }

    /// Asks for ever.
    pub async fn run(self: Arc<Self>, resolver: Arc<ArcSwap<Resolver>>) {
        loop {
            let answer = exchange(&resolver.load_full(), &self.url, &self.target, None).await;
            self.put(match answer {
                // A bad query is a 400 with its reason.
                Ok((200 | 400 | 422 | 503, body)) => parse(&body),
                Ok((status, _)) => Err(format!("it answers {status}")),
                Err(why) => Err(why),
            });
            tokio::time::sleep(Duration::from_millis(self.interval_ms)).await;
        }
    }
}

/// What is no letter or digit as `%XX`.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut text, byte| {
        match byte.is_ascii_alphanumeric() {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

#[cfg(test)]
pub(super) mod tests;
