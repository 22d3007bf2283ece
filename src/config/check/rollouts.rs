//! What holds of `rollout` blocks, in whichever language they were written.

use crate::config::diagnostic::{At, Diagnostic, Diagnostics};
use crate::config::model::{
    Ask, Choice, Condition, EvidenceSource, Http, Rollout, Step, Trust, Variant,
};
use std::collections::BTreeSet;

/// Canaries of one rollout: a latch is a bit of a word, and nobody reads more labels.
const MOST_CANARIES: usize = 15;
/// The whole, in basis points.
const WHOLE: u32 = 10_000;
/// A limit above a half is none.
const HALF: u16 = 5_000;
/// Names that are the ends of other variables: `$rollout_reason`, `$rollout_weight`.
const TAKEN_NAMES: [&str; 2] = ["reason", "weight"];
/// What a client may say instead of a label.
const WORDS: [&str; 2] = ["always", "never"];
/// The longest label of a variant, for it is sent with every request.
const LONGEST_LABEL: usize = 64;

pub(super) fn rollouts(http: &Http, diagnostics: &mut Diagnostics) {
    let upstreams: BTreeSet<&str> = http.upstreams.iter().map(|it| it.name.as_str()).collect();
    let mut names = BTreeSet::new();
    let mut journals = BTreeSet::new();
    for rollout in &http.rollouts {
        let mut check = Check { rollout, diagnostics };
        check.name(&mut names);
        check.variants(&upstreams);
        check.choices();
        check.weights();
        check.steps();
        check.limits();
        match rollout.journal.as_deref() {
            Some("") => check.fault(&rollout.at, "\"journal\" needs the path of a file"),
            Some(path) if !journals.insert(path) => {
                check.fault(&rollout.at, format!("the journal \"{path}\" is another rollout's"));
            }
            _ => {}
        }
        if let Some(EvidenceSource::Prometheus(it)) = &rollout.evidence {
            if !is_webhook(&it.url) {
                let help = "write http://HOST[:PORT]";
                check.fault(&it.at, format!("invalid Prometheus \"{}\"; {help}", it.url));
            }
            if it.query.trim().is_empty() || it.interval_ms == Some(0) {
                check.fault(&it.at, "\"evidence prometheus\" needs a query and an interval");
            }
        }
        for webhook in &rollout.webhooks {
            if !is_webhook(&webhook.url) {
                let help = "write http://HOST[:PORT]/PATH";
                check.fault(&webhook.at, format!("invalid webhook \"{}\"; {help}", webhook.url));
            }
        }
    }
}

struct Check<'a> {
    rollout: &'a Rollout,
    diagnostics: &'a mut Diagnostics,
}

impl<'a> Check<'a> {
    fn fault(&mut self, at: &At, message: impl Into<String>) {
        self.diagnostics.fault(at, message);
    }

    fn name(&mut self, names: &mut BTreeSet<String>) {
        let Rollout { at, name, .. } = self.rollout;
        let is_name = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
        if name.is_empty() || !name.bytes().all(is_name) || TAKEN_NAMES.contains(&name.as_str()) {
            let help = "it is the end of a variable's name, of letters, digits and \"_\", and not \
                        \"reason\" or \"weight\"";
            self.fault(at, format!("invalid rollout name \"{name}\"; {help}"));
        }
        if !names.insert(name.to_ascii_lowercase()) {
            self.fault(at, format!("duplicate rollout \"{name}\""));
        }
    }

    fn variants(&mut self, upstreams: &BTreeSet<&str>) {
        let Rollout { at, name, stable, canaries, .. } = self.rollout;
        if stable.is_none() {
            self.fault(at, format!("no \"stable\" in rollout \"{name}\""));
        }
        if canaries.is_empty() || canaries.len() > MOST_CANARIES {
            let count = canaries.len();
            let message =
                format!("{count} canaries in rollout \"{name}\"; it has 1 to {MOST_CANARIES}");
            self.fault(at, message);
        }
        let mut labels = BTreeSet::new();
        for Variant { at, upstream, version, .. } in stable.iter().chain(canaries) {
            // Where it is written another way it may name a host, but never by mistake here.
            if !upstreams.contains(upstream.as_str()) {
                self.fault(at, format!("no upstream \"{upstream}\" for rollout \"{name}\""));
            }
            let is_word = |it: u8| it.is_ascii_alphanumeric() || b"._-+".contains(&it);
            let is_label = (1..=LONGEST_LABEL).contains(&version.len());
            if !is_label || !version.bytes().all(is_word) || WORDS.contains(&version.as_str()) {
                let help = "a label has 1 to 64 letters, digits and . _ - +, and is not \"always\" \
                            or \"never\"";
                self.fault(at, format!("invalid version \"{version}\"; {help}"));
            }
            if !labels.insert(version.as_str()) {
                self.fault(at, format!("two variants with the version \"{version}\""));
            }
        }
        let aliases = canaries
            .iter()
            .enumerate()
            .filter(|(index, it)| it.version == "stable" || (*index > 0 && it.version == "canary"));
        for (_, variant) in aliases {
            let message = format!("\"{}\" is the name of another variant", variant.version);
            self.fault(&variant.at, message);
        }
    }

    fn choices(&mut self) {
        for Ask { at, name, choice, .. } in &self.rollout.asks {
            let is_token = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
            if name.is_empty() || !name.bytes().all(is_token) {
                self.fault(at, format!("invalid header or cookie name \"{name}\""));
            }
            if let Choice::Value(text) = choice
                && text == "never"
            {
                self.fault(at, "the value \"never\" always means stable");
            }
        }
        for rule in &self.rollout.rules {
            let is_known = self.rollout.labels().any(|it| it == rule.variant)
                || ["stable", "canary"].contains(&rule.variant.as_str());
            if !is_known {
                let labels = self.rollout.labels().collect::<Vec<_>>().join(", ");
                let help = format!("the rollout has {labels}");
                self.fault(&rule.at, format!("unknown variant \"{}\"; {help}", rule.variant));
            }
            if matches!(rule.condition, Condition::File { .. }) {
                self.fault(&rule.at, "a rule of a rollout reads variables, no files");
            }
        }
        if let Some(key) = &self.rollout.key
            && !key.key.contains('$')
        {
            let message = format!("\"sticky {}\" is the same for every request", key.key);
            self.fault(&key.at, message);
        }
        for trust in &self.rollout.trust {
            if let Trust::Network { at, address, prefix } = trust
                && *prefix > if address.is_ipv4() { 32 } else { 128 }
            {
                self.fault(at, format!("invalid network \"{address}/{prefix}\""));
            }
        }
    }

    fn weights(&mut self) {
        let Rollout { at, weight, steps, canaries, .. } = self.rollout;
        if let Some(first) = canaries.first()
            && first.weight.is_some()
        {
            let help = "write the first canary's as \"weight SHARE;\"";
            self.fault(&first.at, format!("\"weight=\" belongs to the other canaries; {help}"));
        }
        let others: u32 = canaries.iter().filter_map(|it| it.weight).map(u32::from).sum();
        let first = steps.iter().filter_map(weight_of).chain(*weight).max().unwrap_or(0);
        if others + u32::from(first) > WHOLE {
            self.fault(at, "the canaries' weights make more than 100% together");
        }
        if weight.is_none() && steps.is_empty() && self.rollout.asks.is_empty() {
            let rules = &self.rollout.rules;
            if rules.is_empty() && others == 0 {
                let message = "nothing chooses a canary: there is no weight, step, header, cookie \
                               or rule";
                self.diagnostics.push(Diagnostic::warning(at, message));
            }
        }
    }

    fn steps(&mut self) {
        let Rollout { at, weight, steps, .. } = self.rollout;
        let weights: Vec<u16> = steps.iter().filter_map(weight_of).collect();
        if !weights.is_sorted_by(|a, b| a < b) || weights.first() == Some(&0) {
            self.fault(at, "the weights of \"steps\" must rise from step to step, above 0");
        }
        let ends = steps.iter().rev().skip(1).any(|it| matches!(it, Step::End { .. }));
        if ends {
            self.fault(at, "only the last of \"steps\" is without a time");
        }
        if matches!(steps.last(), Some(Step::Pause)) {
            self.fault(at, "behind the last \"pause\" of \"steps\" nothing follows");
        }
        if let Some(weight) = weight
            && *weight > 0
            && !steps.is_empty()
            && !weights.contains(weight)
        {
            self.fault(at, "\"weight\" must be that of one of the \"steps\", or 0");
        }
    }

    fn limits(&mut self) {
        let Rollout { at, failures, latency, min_requests, max_duration_ms, .. } = self.rollout;
        let failures = failures.iter().filter_map(|it| Some((&it.at, it.share?)));
        let slow = latency.iter().filter_map(|it| Some((&it.at, it.share?)));
        for (at, share) in failures.chain(slow) {
            if share == 0 || share > HALF {
                self.fault(at, "a limit is a share of more than 0% and at most 50%");
            }
        }
        if let Some(latency) = latency
            && latency.share.is_some()
            && latency.over_ms == 0
        {
            self.fault(&latency.at, "every request takes longer than 0");
        }
        if *min_requests == Some(0) {
            self.fault(at, "\"min_requests\" must be 1 or more: no evidence is no success");
        }
        if *max_duration_ms == Some(0) {
            self.fault(at, "\"max_duration\" must be more than 0");
        }
    }
}

fn weight_of(step: &Step) -> Option<u16> {
    match step {
        Step::Hold { weight, .. } | Step::End { weight } => Some(*weight),
        Step::Pause => None,
    }
}

fn is_webhook(url: &str) -> bool {
    let rest = url.strip_prefix("http://").unwrap_or_default();
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let port = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
    let is_port = port.is_none_or(|(_, port)| port.parse::<u16>().is_ok_and(|it| it > 0));
    let printable = |it: u8| it.is_ascii_graphic() && it != b'"' && it != b'$';
    !host.is_empty() && is_port && url.bytes().all(printable) && !path.contains('#')
}
