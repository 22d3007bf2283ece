//! Evidence from a Prometheus: a query's answer, and what came since the last one.
//!
//! The answer is an instant vector of **counters**. Each series has the label `canary_version`, a
//! variant's label (others are ignored), and
//! - `limit` (`5xx_rate`, `latency`) and `result` (`good`, `bad`): requests as a gateway judges
//!   them by its own limit. Moongate's `moongate_rollout_evidence_total` is such, and best: one
//!   failure a user and second, nothing that clients broke off, gRPC's statuses, what hangs;
//! - or `code` (`200`, `5xx`: requests; those of 5xx failed);
//! - or `le` (a histogram's buckets, in seconds: `+Inf` is all requests, the bucket of the latency
//!   limit those that were not slow). `http_requests_total` and
//!   `http_request_duration_seconds_bucket` are such.
//!
//! Requests are compared with stable's where the label `by` says `weight` or is missing; those of
//! `choice` count against the limit only, for who asks for a canary is another population.
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
    /// Not chosen by header, cookie, rule or script.
    by_weight: bool,
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
    /// Requests as a gateway judged them by the limit of failures.
    Failures {
        /// They failed.
        bad: bool,
    },
    /// The same by the latency limit.
    Latency {
        /// They were over it.
        bad: bool,
    },
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
    let judged = |result: &str| match result {
        "good" | "bad" => Ok(result == "bad"),
        _ => Err(format!("\"{result}\" is no result: {shown}")),
    };
    let what = match (label("limit").zip(label("result")), label("le"), label("code")) {
        (Some(("5xx_rate", result)), ..) => What::Failures { bad: judged(result)? },
        (Some(("latency", result)), ..) => What::Latency { bad: judged(result)? },
        (Some((limit, _)), ..) => return Err(format!("\"{limit}\" is no limit: {shown}")),
        (None, Some(edge), _) => {
            let edge = edge.parse().map_err(|_| format!("\"{edge}\" is no edge: {shown}"))?;
            What::Within(edge)
        }
        (None, None, Some(code)) => What::Requests { failed: code.starts_with('5') },
        (None, None, None) => return Err(missing("\"limit\", \"code\" or \"le\"")),
    };
    let by_weight = match label("by") {
        None | Some("weight") => true,
        Some("choice") => false,
        Some(by) => return Err(format!("\"{by}\" decides nothing: {shown}")),
    };
    let process = format!("{:?} {:?}", label("job"), label("instance"));
    let value: f64 = value.parse().unwrap_or(f64::NAN);
    if !value.is_finite() || value < 0.0 {
        return Err(format!("a value is no count: {shown}"));
    }
    Ok(Sample { series: shown, process, version, by_weight, what, value })
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

/// Requests of one variant since the last answer, by weight or chosen.
#[derive(Clone, Copy, Debug, Default)]
struct Came {
    failures: Counts,
    slow: Counts,
    timed: u64,
    quick: u64,
}

impl Came {
    /// Another `count` requests of a series.
    fn add(&mut self, what: What, count: u64, is_limit: impl Fn(f64) -> bool) {
        let counts = |bad| Counts { requests: count, bad: if bad { count } else { 0 } };
        match what {
            What::Requests { failed: bad } | What::Failures { bad } => {
                self.failures.add(counts(bad));
            }
            What::Latency { bad } => self.slow.add(counts(bad)),
            What::Within(edge) if edge.is_infinite() => self.timed += count,
            What::Within(edge) if is_limit(edge) => self.quick += count,
            What::Within(_) => {}
        }
    }

    /// Requests, and those that were slow.
    fn latency(&self) -> Counts {
        let mut slow = self.slow;
        slow.add(Counts { requests: self.timed, bad: self.timed.saturating_sub(self.quick) });
        slow
    }
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
        let mut came = vec![[Came::default(); 2]; self.labels.len()];
        for it in &ours {
            if !before.contains(&*it.process) || restarted.contains(&*it.process) {
                continue;
            }
            let count = whole(it.value - self.known.get(&it.series).map_or(0.0, |old| old.0));
            let Some(variant) = self.labels.iter().position(|label| *label == it.version) else {
                continue;
            };
            let came = &mut came[variant][usize::from(!it.by_weight)];
            came.add(it.what, count, |edge| self.is_limit(edge));
        }
        // A series that is missing once may come back, while its process is there.
        let there: HashSet<&str> = ours.iter().map(|it| it.process.as_str()).collect();
        self.known.retain(|_, (_, process)| there.contains(process.as_str()));
        for it in ours {
            self.known.insert(it.series.clone(), (it.value, it.process.clone()));
        }
        Ok(self.seen(&came))
    }

    fn seen(&self, came: &[[Came; 2]]) -> Vec<Seen> {
        let failures = |it: &Came| match self.has_failures {
            true => it.failures,
            // Requests are counted for `min_requests` all the same.
            false => Counts { requests: it.failures.requests.max(it.latency().requests), bad: 0 },
        };
        let interval = |stable, canary, mut all: Counts| {
            all.add(canary);
            Interval { stable, canary, all }
        };
        let Some(([stable, _], canaries)) = came.split_first() else { return Vec::new() };
        let of = |[by_weight, chosen]: &[Came; 2]| Seen {
            failures: interval(failures(stable), failures(by_weight), failures(chosen)),
            slow: interval(stable.latency(), by_weight.latency(), chosen.latency()),
        };
        canaries.iter().map(of).collect()
    }

    /// Without any series there is no data, which is no fault of the query.
    fn check(&self, samples: &[&Sample]) -> Result<(), String> {
        let has_codes = samples
            .iter()
            .any(|it| matches!(it.what, What::Requests { .. } | What::Failures { .. }));
        if self.has_failures && !has_codes && !samples.is_empty() {
            let advice = "write \"limit 5xx_rate off\" or ask for them";
            return Err(format!(
                "no series counts failures (label \"code\" or \"limit\"); {advice}"
            ));
        }
        let edges = samples.iter().filter_map(|it| match it.what {
            What::Within(edge) => Some(edge),
            _ => None,
        });
        let edges: Vec<f64> = edges.collect();
        let has_limit = edges.iter().any(|it| self.is_limit(*it))
            || samples.iter().any(|it| matches!(it.what, What::Latency { .. }));
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
