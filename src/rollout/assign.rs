//! Which variant a request gets: who may choose by name, what rules say, and whose bucket it is.
//!
//! The order: `never` wins over all; then header, cookie, rule; then the user's bucket. The pick
//! reads variables into a buffer that the caller keeps, and allocates nothing.

use super::hash::{self, hash};
use super::layout::{Layout, STABLE};
use super::signature::{Id, Secret};
use super::trust::Trust;
use crate::config::model::OnMissing;
use crate::regex::Regex;
use crate::vars::{Source, Template, Var};
use bytes::Bytes;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

/// The number of the first canary among the variants.
pub(super) const FIRST: u8 = 1;

/// Why a request got its variant: `$rollout_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It asked for stable: `never`.
    Never,
    /// A header chose.
    Header,
    /// A cookie chose.
    Cookie,
    /// A rule held.
    Rule,
    /// The user's bucket.
    Weight,
    /// Chance, by weight: there is no key.
    Random,
    /// There is no key, and such requests are stable's.
    NoKey,
    /// It would have got a canary that was rolled back or aborted.
    RolledBack,
    /// It would have got a canary without a healthy peer.
    NoPeer,
    /// The canary failed, and stable answered instead.
    Retried,
}

/// All reasons in their order.
pub const REASONS: [Reason; 10] = [
    Reason::Never,
    Reason::Header,
    Reason::Cookie,
    Reason::Rule,
    Reason::Weight,
    Reason::Random,
    Reason::NoKey,
    Reason::RolledBack,
    Reason::NoPeer,
    Reason::Retried,
];

impl Reason {
    /// The word for logs and variables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Header => "header",
            Self::Cookie => "cookie",
            Self::Rule => "rule",
            Self::Weight => "weight",
            Self::Random => "random",
            Self::NoKey => "no_key",
            Self::RolledBack => "rolled_back",
            Self::NoPeer => "no_peer",
            Self::Retried => "retried_on_stable",
        }
    }

    /// Whether the request fell to its variant by weight: only such requests compare the variants.
    pub const fn is_by_weight(self) -> bool {
        matches!(self, Self::Weight | Self::Random)
    }
}

/// What was decided for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// 0 is stable, 1 the first canary.
    pub variant: u8,
    /// Why.
    pub reason: Reason,
    /// The bucket that the user or chance gave it, where that was asked.
    pub bucket: Option<u16>,
    /// The hash of the user's key, where there is one: failures are counted once a user and second.
    pub user: Option<u64>,
    /// The id that a cookie shall keep from now on.
    pub issue: Option<Id>,
}

/// The request as a pick sees it.
pub struct Client<'a> {
    /// Its variables.
    pub vars: &'a dyn Source,
    /// Where it came from; none over a unix socket.
    pub address: Option<IpAddr>,
    /// Now, seconds since 1970: a token expires.
    pub now_s: u64,
    /// A source of random numbers; of good ones, where cookies are issued.
    pub random: &'a mut dyn FnMut() -> u64,
    /// The user's key where a script says it, instead of `sticky`.
    pub key: Option<&'a [u8]>,
}

/// What control changes and picks obey: one a rollout, it outlives configurations.
#[derive(Debug, Default)]
pub struct Shares {
    /// Who owns which bucket.
    pub layout: Layout,
    /// A bit a variant: closed ones get nothing, whoever asks.
    closed: AtomicU32,
}

impl Shares {
    /// Closes the variants whose bits are set in `mask`, and opens all others.
    pub fn close(&self, mask: u32) {
        self.closed.store(mask, Ordering::Relaxed);
    }

    /// Whether `variant` gets nothing.
    pub fn is_closed(&self, variant: u8) -> bool {
        self.closed.load(Ordering::Relaxed) >> variant & 1 == 1
    }
}

/// How a rollout picks: its configuration, compiled.
#[derive(Debug)]
pub struct Assign {
    pub(super) name: Box<str>,
    pub(super) salt: u64,
    pub(super) labels: Box<[Bytes]>,
    /// Headers before cookies, each in the order of the text.
    pub(super) asks: Box<[Ask]>,
    pub(super) rules: Box<[Rule]>,
    pub(super) key: Option<Template>,
    pub(super) on_missing: OnMissing,
    /// The cookie's variable, and its secret.
    pub(super) cookie: Option<(Var, Secret)>,
    pub(super) trust: Trust,
}

#[derive(Debug)]
pub(super) struct Ask {
    pub(super) var: Var,
    pub(super) reason: Reason,
    pub(super) choice: Wanted,
}

#[derive(Debug)]
pub(super) enum Wanted {
    Label,
    Value(Box<[u8]>),
    Pattern(Regex),
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) test: Test,
    pub(super) variant: u8,
}

#[derive(Debug)]
pub(super) enum Test {
    True(Var),
    Equals(Var, Template, bool),
    Matches(Var, Regex, bool),
}

impl Assign {
    /// The labels of the variants, stable's first.
    pub fn labels(&self) -> &[Bytes] {
        &self.labels
    }

    /// Picks the variant of a request. `scratch` is for values of variables; its content is lost.
    pub fn pick(&self, shares: &Shares, client: &mut Client<'_>, scratch: &mut Vec<u8>) -> Pick {
        let chosen = match self.asked(client, scratch) {
            Some(asked) => Some(asked),
            None => self.ruled(client, scratch).map(|it| (it, Reason::Rule)),
        };
        let pick = match chosen {
            Some((variant, reason)) => Pick { variant, ..stable(reason) },
            None => self.by_weight(shares, client, scratch),
        };
        if pick.variant != STABLE && shares.is_closed(pick.variant) {
            return Pick { variant: STABLE, reason: Reason::RolledBack, ..pick };
        }
        pick
    }

    /// The bucket of a user: 0 to 9999.
    pub fn bucket_of(&self, key: &[u8]) -> u16 {
        hash::bucket(hash(self.salt, key))
    }

    /// The `Set-Cookie` value of a user's id, without attributes.
    pub fn cookie_value(&self, id: &Id) -> Option<String> {
        self.cookie.as_ref().map(|(_, secret)| secret.cookie(&self.name, id))
    }

    /// What a header or a cookie asks for, where its sender may ask.
    fn asked(&self, client: &mut Client<'_>, scratch: &mut Vec<u8>) -> Option<(u8, Reason)> {
        let mut found = None;
        for ask in &self.asks {
            let value = value_of(&ask.var, client.vars, scratch);
            if value == b"never" {
                found = Some((STABLE, Reason::Never));
                break;
            }
            if found.is_none() && !value.is_empty() {
                found = self.wanted(&ask.choice, value).map(|it| (it, ask.reason));
            }
        }
        found.filter(|_| self.trust.allows(&self.name, client, scratch))
    }

    /// The variant that `value` of `ask` asks for.
    pub(super) fn asked_by(&self, ask: &Ask, value: &[u8]) -> Option<u8> {
        if value == b"never" { Some(STABLE) } else { self.wanted(&ask.choice, value) }
    }

    fn wanted(&self, choice: &Wanted, value: &[u8]) -> Option<u8> {
        match choice {
            Wanted::Label if value == b"always" => Some(FIRST),
            Wanted::Label => {
                let label = self.labels.iter().position(|it| it == value)?;
                u8::try_from(label).ok()
            }
            Wanted::Value(text) => (**text == *value).then_some(FIRST),
            Wanted::Pattern(regex) => regex.is_match(value).then_some(FIRST),
        }
    }

    fn ruled(&self, client: &Client<'_>, scratch: &mut Vec<u8>) -> Option<u8> {
        let held = self.rules.iter().find(|it| it.test.holds(client.vars, scratch));
        held.map(|it| it.variant)
    }

    fn by_weight(&self, shares: &Shares, client: &mut Client<'_>, scratch: &mut Vec<u8>) -> Pick {
        let mut issue = None;
        let mut user = self.user(client, scratch);
        if user.is_none() && self.cookie.is_some() {
            let id = u128::from((client.random)()) << 64 | u128::from((client.random)());
            issue = Some(id.to_be_bytes());
            user = Some(hash(self.salt, &id.to_be_bytes()));
        }
        let (number, reason) = match (user, self.on_missing) {
            (Some(user), _) => (user, Reason::Weight),
            (None, OnMissing::Random) => ((client.random)(), Reason::Random),
            (None, OnMissing::Stable) => return stable(Reason::NoKey),
        };
        let bucket = hash::bucket(number);
        let variant = shares.layout.owner(bucket);
        Pick { variant, reason, bucket: Some(bucket), user, issue }
    }

    /// The hash of the user's key: of `sticky`, else of a signed cookie.
    fn user(&self, client: &Client<'_>, scratch: &mut Vec<u8>) -> Option<u64> {
        if let Some(key) = client.key.filter(|it| !it.is_empty()) {
            return Some(hash(self.salt, key));
        }
        if let Some(key) = &self.key {
            scratch.clear();
            key.append(client.vars, scratch);
            if !scratch.is_empty() {
                return Some(hash(self.salt, scratch));
            }
        }
        let (var, secret) = self.cookie.as_ref()?;
        let id = secret.user(&self.name, value_of(var, client.vars, scratch))?;
        Some(hash(self.salt, &id))
    }
}

impl Pick {
    /// The same request on stable, because of `reason`.
    #[must_use]
    pub fn on_stable(self, reason: Reason) -> Self {
        Self { variant: STABLE, reason, ..self }
    }
}

impl Test {
    /// A pattern that cannot be decided holds neither way.
    pub(super) fn holds(&self, vars: &dyn Source, scratch: &mut Vec<u8>) -> bool {
        match self {
            Self::True(var) => !matches!(value_of(var, vars, scratch), b"" | b"0"),
            Self::Equals(var, text, negated) => {
                scratch.clear();
                vars.append(var, scratch);
                let middle = scratch.len();
                text.append(vars, scratch);
                let (left, right) = scratch.split_at(middle);
                (left == right) != *negated
            }
            Self::Matches(var, regex, negated) => {
                let value = value_of(var, vars, scratch);
                match regex.exec(value, &mut crate::regex::Captures::new()) {
                    Ok(matched) => matched != *negated,
                    Err(_) => false,
                }
            }
        }
    }
}

/// The value of `var` in `scratch`; empty where it is not set.
pub(super) fn value_of<'a>(var: &Var, vars: &dyn Source, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    scratch.clear();
    vars.append(var, scratch);
    scratch
}

fn stable(reason: Reason) -> Pick {
    Pick { variant: STABLE, reason, bucket: None, user: None, issue: None }
}

#[cfg(test)]
mod tests;
