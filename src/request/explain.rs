//! A request's Decision for people: what was read, what decided, and why not the others.

use super::Request;
use super::decision::Picked;
use crate::clock;
use crate::config::model::{self, AskSource, Condition};
use crate::rollout::account::Account;
use crate::rollout::layout::STABLE;
use crate::rollout::status::percent;
use crate::rollout::{Client, Reason};
use crate::snapshot::rollout::Rollout;
use crate::upstream::Standing;
use serde::Serialize;
use std::fmt;

/// What was decided for a request, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The request line.
    pub request: String,
    /// The server's name.
    pub server: String,
    /// The location as it is written.
    pub location: String,
    /// Scripts that ran, and how each ended.
    pub scripts: Vec<String>,
    /// Whom scripts would have contacted; they were told that it failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_asked: Vec<String>,
    /// Variables that were read.
    pub read: Vec<String>,
    /// What each rollout decided.
    pub rollouts: Vec<RolloutAccount>,
    /// The variant's label.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Why: what assigned it, or the rollout's reason.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The peers that were tried, or would be.
    pub peers: Vec<String>,
    /// Peers that were not, and why.
    pub passed_over: Vec<String>,
    /// What answers where no upstream does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// What one rollout decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RolloutAccount {
    /// Its name.
    pub name: String,
    /// What was asked in turn, and what came of it.
    pub steps: Vec<String>,
    /// The user's bucket, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<u16>,
    /// The variant.
    pub version: String,
    /// Why.
    pub reason: String,
    /// The other variants, and why not they.
    pub passed_over: Vec<String>,
}

impl Request {
    /// The request's Decision as it is now. Reads on its own account are not noted.
    pub fn explain(&self) -> Explanation {
        let was_traced = self.is_traced.replace(false);
        let decision = self.decision.borrow().clone();
        let trace = self.trace.borrow().clone().unwrap_or_default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let peers: Vec<String> =
            self.attempts.borrow().0.iter().map(|it| it.peer.to_string()).collect();
        let status = self.response.borrow().status;
        let answer = || (peers.is_empty() && status > 0).then(|| format!("status {status}"));
        let explanation = Explanation {
            request: text(&self.line),
            server: self.snapshot.server(self.server.get()).name.to_string(),
            location: self.location().name.to_string(),
            scripts: trace.ran.iter().map(|(it, end)| format!("{it}: {end}")).collect(),
            not_asked: Vec::new(),
            read: trace.read.iter().map(|(name, value)| read(name, value.as_deref())).collect(),
            rollouts: decision.rollouts.iter().filter_map(|it| self.account_of(it)).collect(),
            version: text(&decision.version),
            reason: text(decision.why()),
            passed_over: self.passed_over(decision.upstream.as_deref(), &peers),
            answer: trace.answer.or_else(answer),
            upstream: decision.upstream.as_deref().map(str::to_owned),
            peers,
        };
        self.is_traced.set(was_traced);
        explanation
    }

    fn passed_over(&self, upstream: Option<&str>, tried: &[String]) -> Vec<String> {
        let Some(upstream) = upstream.and_then(|it| self.snapshot.upstream(it)) else {
            return Vec::new();
        };
        let set = upstream.group.peers.load();
        let others = set.iter().filter(|it| !tried.iter().any(|tried| **tried == *it.address_text));
        let why = |standing| match standing {
            Standing::Up => "another was its turn",
            Standing::Down => "down",
            Standing::Unavailable => "max_fails",
            Standing::Unhealthy => "unhealthy",
            Standing::Checking => "not checked yet",
            Standing::Full => "max_conns",
        };
        let now_ms = clock::monotonic().as_ms();
        others.map(|it| format!("{}: {}", it.address_text, why(it.standing(now_ms)))).collect()
    }

    fn account_of(&self, picked: &Picked) -> Option<RolloutAccount> {
        let number = usize::from(picked.rollout);
        let rollout = self.snapshot.assignments.get(number)?;
        let written = self.snapshot.model.http.as_ref()?.rollouts.get(number)?;
        let mut random = || 0;
        let (vars, address) = (self, self.client_ip());
        let now_s = clock::cached_s();
        let client = Client { vars, address, now_s, random: &mut random, key: None };
        let account = rollout.assign.account(&client);
        let label = |variant: u8| {
            let variant = rollout.variants.get(usize::from(variant));
            variant.map(|it| String::from_utf8_lossy(&it.label).into_owned()).unwrap_or_default()
        };
        let count = u8::try_from(rollout.variants.len()).unwrap_or(u8::MAX);
        let others = (0..count).filter(|it| *it != picked.pick.variant);
        let passed_over =
            others.map(|it| format!("{}: {}", label(it), why_not(rollout, picked, it)));
        Some(RolloutAccount {
            name: written.name.clone(),
            steps: steps(written, &account, label),
            bucket: picked.pick.bucket,
            version: label(picked.pick.variant),
            reason: picked.pick.reason.as_str().to_owned(),
            passed_over: passed_over.collect(),
        })
    }
}

/// What a rollout asked in turn.
fn steps(written: &model::Rollout, account: &Account, label: impl Fn(u8) -> String) -> Vec<String> {
    let mut steps = Vec::new();
    let mut asks: Vec<_> = written.asks.iter().collect();
    asks.sort_by_key(|it| it.source == AskSource::Cookie);
    for (ask, (value, wanted)) in asks.iter().zip(&account.asks) {
        let kind = if ask.source == AskSource::Header { "header" } else { "cookie" };
        let said = match wanted {
            _ if value.is_empty() => "not sent".to_owned(),
            Some(_) if !account.is_trusted => format!("\"{value}\", from nobody who may choose"),
            Some(variant) => format!("\"{value}\" asks for {}", label(*variant)),
            None => format!("\"{value}\" asks for nothing"),
        };
        steps.push(format!("{kind} {} ({}): {said}", ask.name, ask.at));
    }
    for (rule, holds) in written.rules.iter().zip(&account.rules) {
        let said = if *holds { "holds" } else { "does not hold" };
        let condition = condition(&rule.condition);
        steps.push(format!("when {condition} {} ({}): {said}", rule.variant, rule.at));
    }
    if let Some(sticky) = &written.key {
        let said = match account.key.as_str() {
            "" => "empty".to_owned(),
            key => format!("\"{key}\""),
        };
        steps.push(format!("sticky {} ({}): {said}", sticky.key, sticky.at));
    }
    if let Some(cookie) = &written.cookie {
        let said = if account.has_cookie { "tells the user" } else { "none that is signed" };
        steps.push(format!("sticky cookie {} ({}): {said}", cookie.name, cookie.at));
    }
    steps
}

fn condition(condition: &Condition) -> String {
    match condition {
        Condition::True(variable) => format!("${variable}"),
        Condition::Equals { variable, text, negated } => {
            format!("${variable} {} \"{text}\"", if *negated { "!=" } else { "=" })
        }
        Condition::Matches { variable, regex, caseless, negated } => {
            let not = if *negated { "!" } else { "" };
            format!("${variable} {not}~{} \"{regex}\"", if *caseless { "*" } else { "" })
        }
        Condition::File { .. } => "-f".to_owned(),
    }
}

/// Why a request did not get a variant.
fn why_not(rollout: &Rollout, picked: &Picked, variant: u8) -> String {
    let pick = picked.pick;
    let share = || percent(rollout.live.shares().layout.share(variant));
    match pick.reason {
        Reason::NoPeer if variant == picked.wanted => "no peer of it is up".to_owned(),
        Reason::Retried if variant == picked.wanted => "it failed".to_owned(),
        _ if variant != STABLE && rollout.live.shares().is_closed(variant) => {
            "rolled back or aborted".to_owned()
        }
        Reason::Weight | Reason::Random => match pick.bucket {
            Some(bucket) => format!("bucket {bucket} is none of its {}", share()),
            None => format!("its share is {}", share()),
        },
        Reason::NoKey => "there is no key".to_owned(),
        _ => "another was asked for".to_owned(),
    }
}

fn read(name: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => format!("${name} = \"{value}\""),
        None => format!("${name} is not set"),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |what: &str, text: &str| writeln!(f, "{what:<9} {text}");
        row("request", &self.request)?;
        row("server", &self.server)?;
        row("location", &self.location)?;
        self.scripts.iter().try_for_each(|it| row("script", it))?;
        self.not_asked.iter().try_for_each(|it| {
            row("not asked", &format!("{it}: the script was told that it failed"))
        })?;
        self.read.iter().try_for_each(|it| row("read", it))?;
        for rollout in &self.rollouts {
            row("rollout", &rollout.name)?;
            rollout.steps.iter().try_for_each(|it| row("", it))?;
            if let Some(bucket) = rollout.bucket {
                row("", &format!("bucket {bucket}"))?;
            }
            row("", &format!("{}, for {}", rollout.version, rollout.reason))?;
            rollout.passed_over.iter().try_for_each(|it| row("", &format!("not {it}")))?;
        }
        if !self.version.is_empty() {
            row("variant", &self.version)?;
        }
        if let Some(upstream) = &self.upstream {
            row("upstream", &format!("{upstream}, by {}", self.reason))?;
        }
        self.peers.iter().try_for_each(|it| row("peer", it))?;
        self.passed_over.iter().try_for_each(|it| row("", &format!("not {it}")))?;
        self.answer.iter().try_for_each(|it| row("answer", it))
    }
}
