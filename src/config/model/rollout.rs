//! `rollout` blocks: how a new version takes a share of the traffic, and when it gives it back.

use super::{Condition, Text};
use crate::config::diagnostic::At;
use serde::{Deserialize, Serialize};

/// A `rollout` block.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rollout {
    /// Where the block begins.
    pub at: At,
    /// Its name: `$rollout_NAME` is the upstream that it chose; the salt of its cohorts.
    pub name: String,
    /// `stable`; always written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable: Option<Variant>,
    /// `canary` lines in their order: the steps are the first one's.
    pub canaries: Vec<Variant>,
    /// `header` and `cookie` lines: what asks for a variant by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<Ask>,
    /// `when` lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// `sticky $key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<StickyKey>,
    /// `sticky cookie`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<StickyCookie>,
    /// `weight`, basis points: the first canary's; with steps, where it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// `steps`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// `limit 5xx_rate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<FailureLimit>,
    /// `limit pN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyLimit>,
    /// `min_requests`: the canary's, before a step may end; default 3 for each share of a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_requests: Option<u64>,
    /// `max_duration`, milliseconds: how long a step waits for them; default 2 h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration_ms: Option<u64>,
    /// `on_breach`; default rollback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_breach: Option<OnBreach>,
    /// `retry_on_stable`; default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_on_stable: Option<bool>,
    /// `trust` lines: who may choose by header or cookie; everyone where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trust: Vec<Trust>,
    /// `journal PATH`; default `rollouts/NAME.journal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<String>,
    /// `evidence`; default local.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceSource>,
    /// `webhook URL` lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<Webhook>,
}

impl Rollout {
    /// Labels of all variants, stable's first.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.stable.iter().chain(&self.canaries).map(|it| it.version.as_str())
    }
}

/// A `stable` or `canary` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// The name of an `upstream` block.
    pub upstream: String,
    /// `version=`, the label; by default `stable` or the upstream's name.
    pub version: String,
    /// `weight=`, basis points: what a canary behind the first one has; default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
}

/// A `header` or `cookie` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// Where the word is read.
    pub source: AskSource,
    /// The header's or the cookie's name.
    pub name: String,
    /// Which words choose.
    pub choice: Choice,
}

/// What a client may ask with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskSource {
    /// A request header.
    Header,
    /// A cookie.
    Cookie,
}

/// Which values of a header or a cookie choose. `never` always means stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// A variant's label, or `always` for the first canary.
    Label,
    /// `value TEXT`: this text for the first canary.
    Value(String),
    /// `pattern REGEX`: what matches for the first canary.
    Pattern(String),
}

/// `when CONDITION VARIANT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// The condition, as in `if`; none of a file.
    pub condition: Condition,
    /// A label, `stable` or `canary` (the first).
    pub variant: String,
}

/// `sticky KEY [on_missing=stable|random]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StickyKey {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// The key, with variables.
    pub key: Text,
    /// `on_missing=`; default stable.
    #[serde(default)]
    pub on_missing: OnMissing,
}

/// What a request without a key gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnMissing {
    /// Stable.
    #[default]
    Stable,
    /// A variant by chance, in proportion to the weights.
    Random,
}

/// `sticky cookie NAME [max_age=] [path=] [domain=] [secure] [samesite=] [secret_file=]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StickyCookie {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// Its name.
    pub name: String,
    /// `max_age=`, seconds; without it the cookie ends with the browser's session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u64>,
    /// `path=`; default `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `domain=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// `secure`.
    #[serde(default)]
    pub secure: bool,
    /// `samesite=`: `Strict`, `Lax` or `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samesite: Option<String>,
    /// `secret_file=`: what it is signed with, on every node the same; by default a secret that
    /// the journal keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<String>,
}

/// One of `steps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// `WEIGHT TIME`: the weight in basis points, and how long it is held at least.
    Hold {
        /// Basis points.
        weight: u16,
        /// Milliseconds.
        for_ms: u64,
    },
    /// `WEIGHT` alone: the last.
    End {
        /// Basis points.
        weight: u16,
    },
    /// `pause`: until `promote`.
    Pause,
}

/// `limit 5xx_rate > SHARE` or `limit 5xx_rate off`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailureLimit {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// Basis points; none is `off`.
    pub share: Option<u16>,
}

/// `limit pN > TIME` or `limit p99 off`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyLimit {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// Basis points of the requests that may be slower: 100 for p99; none is `off`.
    pub share: Option<u16>,
    /// Milliseconds.
    pub over_ms: u64,
}

/// What a breach of a limit does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBreach {
    /// All traffic goes to stable.
    #[default]
    Rollback,
    /// The weight stays, an operator is told.
    Hold,
}

/// A `trust` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// `ADDRESS/PREFIX`.
    Network {
        /// Where it is written.
        #[serde(default)]
        at: At,
        /// The network's first address.
        address: std::net::IpAddr,
        /// Leading bits that count.
        prefix: u8,
    },
    /// `token secret_file=PATH [header=NAME]`.
    Token {
        /// Where it is written.
        #[serde(default)]
        at: At,
        /// What tokens are signed with.
        secret_file: String,
        /// The header that carries one; default `X-Canary-Token`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        header: Option<String>,
    },
}

/// Where the evidence on a canary comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceSource {
    /// This process counts.
    Local,
    /// A Prometheus is asked.
    Prometheus(Prometheus),
}

/// `evidence prometheus URL [QUERY] [interval=TIME]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prometheus {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// `http://HOST[:PORT][/PREFIX]`.
    pub url: String,
    /// The query, whose answer has counters with the label `canary_version`.
    pub query: String,
    /// `interval=`, milliseconds; default 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
}

/// A `webhook` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// `http://HOST[:PORT]/PATH`.
    pub url: String,
}
