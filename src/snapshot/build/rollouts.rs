//! `rollout` blocks, compiled; and their labels on the probes of their upstreams.

use super::Build;
use crate::config::diagnostic::At;
use crate::config::diagnostic::Diagnostics;
use crate::config::model;
use crate::config::model::{AskSource, Choice, HealthKind, Http};
use crate::metrics;
use crate::rollout::signature::LENGTH;
use crate::rollout::{Assign, Needs, REASONS, Rollouts};
use crate::snapshot::rollout::{Budget, Cookie, Rollout, Variant};
use crate::sys::open;
use bytes::Bytes;

/// The field of a label where no `header NAME` names another.
const HEADER: &str = "X-Canary-Version";
/// The metadata of a label, for gRPC.
const METADATA: &str = "canary-version";

impl Build<'_> {
    /// What requests need of each rollout; `live` is what control changes.
    pub(super) fn assignments(&mut self, http: &Http, live: &Rollouts) -> Vec<Rollout> {
        http.rollouts.iter().filter_map(|it| self.assignment(it, live)).collect()
    }

    fn assignment(&mut self, rollout: &model::Rollout, live: &Rollouts) -> Option<Rollout> {
        let live = live.get(&rollout.name)?.entry.clone();
        let base = self.inputs.base;
        let needs = Needs {
            names: &self.names,
            read: &|path| open::contents(&base.join(path)).map_err(|it| it.to_string()),
            own_secret: live.own_secret(),
        };
        let assign = Assign::compile(rollout, &needs, &mut self.diagnostics)?;
        let all = rollout.stable.iter().chain(&rollout.canaries);
        let variants: Option<Vec<_>> = all.map(|it| self.variant(&rollout.name, it)).collect();
        Some(Rollout {
            name: rollout.name.as_str().into(),
            assign,
            variants: variants?.into(),
            header: Bytes::copy_from_slice(header(rollout).as_bytes()),
            cookie: rollout.cookie.as_ref().map(cookie),
            retries: (rollout.retry_on_stable == Some(true)).then(Budget::new),
            live,
        })
    }

    /// `explain_secret_file`, without blanks and line ends around it.
    pub(super) fn explain_secret(&mut self, http: &Http) -> Option<Bytes> {
        let path = self.inputs.base.join(http.explain_secret_file.as_ref()?);
        let fault = match open::contents(&path) {
            Ok(bytes) if bytes.trim_ascii().len() >= LENGTH => {
                return Some(Bytes::copy_from_slice(bytes.trim_ascii()));
            }
            Ok(_) => format!("the secret in \"{}\" has fewer than 16 bytes", path.display()),
            Err(failure) => failure.to_string(),
        };
        self.diagnostics.fault(&At::default(), fault);
        None
    }

    /// A group with a fault is missing; the fault is reported.
    fn variant(&self, rollout: &str, variant: &model::Variant) -> Option<Variant> {
        let upstream = variant.upstream.as_str();
        let group = self.upstreams.get(upstream.to_ascii_lowercase().as_str())?.group.clone();
        let counter = |reason: &str| {
            let labels = [rollout, variant.version.as_str(), reason];
            metrics::catalog().rollout_decisions.with_label_values(&labels)
        };
        Some(Variant {
            label: Bytes::copy_from_slice(variant.version.as_bytes()),
            upstream: Bytes::copy_from_slice(upstream.as_bytes()),
            group,
            decisions: REASONS.map(|it| counter(it.as_str())),
        })
    }
}

/// The field that carries the label of a rollout's variants.
fn header(rollout: &model::Rollout) -> &str {
    let is_label = |it: &&model::Ask| it.source == AskSource::Header && it.choice == Choice::Label;
    rollout.asks.iter().find(is_label).map_or(HEADER, |it| &it.name)
}

fn cookie(sticky: &model::StickyCookie) -> Cookie {
    let mut attributes = format!("; Path={}", sticky.path.as_deref().unwrap_or("/"));
    if let Some(seconds) = sticky.max_age_s {
        attributes.push_str(&format!("; Max-Age={seconds}"));
    }
    if let Some(domain) = &sticky.domain {
        attributes.push_str(&format!("; Domain={domain}"));
    }
    if sticky.secure {
        attributes.push_str("; Secure");
    }
    if let Some(samesite) = &sticky.samesite {
        attributes.push_str(&format!("; SameSite={samesite}"));
    }
    attributes.push_str("; HttpOnly");
    Cookie { name: sticky.name.as_str().into(), attributes: attributes.into() }
}

/// The upstreams with the labels of their variants on their probes, unless these say another one.
pub(super) fn labelled(http: &Http, diagnostics: &mut Diagnostics) -> Vec<model::Upstream> {
    let mut upstreams = http.upstreams.clone();
    for rollout in &http.rollouts {
        for variant in rollout.stable.iter().chain(&rollout.canaries) {
            let found = |it: &&mut model::Upstream| it.name.eq_ignore_ascii_case(&variant.upstream);
            let Some(upstream) = upstreams.iter_mut().find(found) else { continue };
            let own = http.upstreams.iter().find(|it| it.name == upstream.name);
            let own = own.map(|it| it.health_checks.as_slice()).unwrap_or_default();
            for (check, own) in upstream.health_checks.iter_mut().zip(own) {
                let other = label(check, own, header(rollout), &variant.version);
                if let Some(other) = other {
                    let name = &variant.upstream;
                    let message = format!(
                        "the probes of upstream \"{name}\" carry the label \"{other}\", not \"{}\"",
                        variant.version
                    );
                    let warning =
                        crate::config::diagnostic::Diagnostic::warning(&variant.at, message);
                    diagnostics.push(warning);
                }
            }
        }
    }
    upstreams
}

/// Puts a label on a probe; the label of another variant, where it has that already.
fn label(
    check: &mut model::HealthCheck,
    own: &model::HealthCheck,
    header: &str,
    label: &str,
) -> Option<String> {
    let (name, fields) = match &mut check.kind {
        HealthKind::Http { headers, .. } => (header, headers),
        HealthKind::Grpc { headers, .. } => (METADATA, headers),
        HealthKind::Tcp => return None,
    };
    let own = match &own.kind {
        HealthKind::Http { headers, .. } | HealthKind::Grpc { headers, .. } => headers.as_slice(),
        HealthKind::Tcp => &[],
    };
    let is_it = |it: &&(String, String)| it.0.eq_ignore_ascii_case(name);
    match fields.iter().find(is_it) {
        None => {
            fields.push((name.to_owned(), label.to_owned()));
            None
        }
        // The operator's own word.
        Some(_) if own.iter().any(|it| is_it(&it)) => None,
        Some((_, other)) => (other != label).then(|| other.clone()),
    }
}
