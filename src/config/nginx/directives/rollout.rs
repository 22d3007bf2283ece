//! `rollout`: a new version's share of the traffic, its steps and its limits.

use crate::config::model::{
    EvidenceSource, FailureLimit, LatencyLimit, OnBreach, Prometheus, Rollout, Step, Variant,
    Webhook,
};
use crate::config::nginx::directive::{
    Apply, Arity, Directive, HTTP, ONE, ROLLOUT, Scope, custom, flag, millis,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use crate::config::units;

/// What `version=` is for stable where it is not written.
const STABLE: &str = "stable";

pub(super) const TABLE: &[Directive] = &[
    Directive::new(
        "explain_secret_file",
        HTTP,
        ONE,
        Apply::Word(|s| Some(&mut s.http()?.explain_secret_file)),
        "A request that carries this file's secret in `X-Moongate-Explain` is told its Decision in \
         `X-Moongate-Decision`.",
    )
    .ours(),
    custom("rollout", HTTP, ONE, rollout, "A new version's share of the traffic: `$rollout_NAME`.")
        .block()
        .ours(),
    custom(
        "stable",
        ROLLOUT,
        Arity::Between(1, 2),
        stable,
        "The upstream of the version that serves: `UPSTREAM [version=LABEL]`.",
    )
    .ours(),
    custom(
        "canary",
        ROLLOUT,
        Arity::Between(1, 3),
        canary,
        "The upstream of a new version: `UPSTREAM [version=LABEL] [weight=SHARE]`; weight and \
         steps are the first one's.",
    )
    .ours(),
    custom(
        "weight",
        ROLLOUT,
        Arity::Between(1, 2),
        weight,
        "The first canary's share: `5%`, `25bp` or `N [total=100]`; with steps, the one to begin \
         with.",
    )
    .ours(),
    custom(
        "steps",
        ROLLOUT,
        Arity::AtLeast(1),
        steps,
        "Shares and how long each is held, with pauses: `1% 5m, 10% 1h, pause, 100%`.",
    )
    .ours(),
    custom(
        "limit",
        ROLLOUT,
        Arity::Between(2, 3),
        limit,
        "What a canary may do: `5xx_rate > SHARE` (default 0.5%), `pN > TIME` (default p99 > 2s), \
         or either `off`.",
    )
    .ours(),
    Directive::new(
        "min_requests",
        ROLLOUT,
        ONE,
        Apply::Number(|s| Some(&mut s.rollout()?.min_requests)),
        "The canary's requests that a step needs; default 3 for each share of a limit, 600.",
    )
    .ours(),
    millis(
        "max_duration",
        ROLLOUT,
        |s| Some(&mut s.rollout()?.max_duration_ms),
        "How long a step waits for them before it is inconclusive; default `2h`.",
    )
    .ours(),
    custom("on_breach", ROLLOUT, ONE, on_breach, "`rollback` (default), or `hold` and tell.")
        .ours(),
    flag(
        "retry_on_stable",
        ROLLOUT,
        |s| Some(&mut s.rollout()?.retry_on_stable),
        "Lets stable answer what failed on a canary, within a budget; default off.",
    )
    .ours(),
    Directive::new(
        "journal",
        ROLLOUT,
        ONE,
        Apply::Word(|s| Some(&mut s.rollout()?.journal)),
        "Where decisions are kept; default `rollouts/NAME.journal`. A folder `rollouts` is made.",
    )
    .ours(),
    custom(
        "evidence",
        ROLLOUT,
        Arity::Between(1, 4),
        evidence,
        "`local` (default), or `prometheus URL [QUERY] [interval=10s]`, whose query by default is \
         `moongate_rollout_evidence_total{rollout=\"NAME\"}`.",
    )
    .ours(),
    custom("webhook", ROLLOUT, ONE, webhook, "A URL that is told of every transition.").ours(),
];

fn rollout(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let mut rollout =
        Rollout { at: node.at.clone(), name: node.arg(0).to_owned(), ..Rollout::default() };
    lower.block(node.children(), &mut Scope::Rollout(&mut rollout));
    if let Some(http) = scope.http() {
        http.rollouts.push(rollout);
    }
}

fn stable(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let variant = variant(lower, node, STABLE);
    if variant.weight.is_some() {
        lower.fault(node, "\"weight=\" belongs to a canary; stable has the rest");
    }
    lower.once(node, scope.rollout().map(|it| &mut it.stable), Some(variant));
}

fn canary(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let variant = variant(lower, node, node.arg(0));
    if let Some(rollout) = scope.rollout() {
        rollout.canaries.push(variant);
    }
}

fn variant(lower: &mut Lower<'_>, node: &Node, label: &str) -> Variant {
    let mut variant = Variant {
        at: node.at.clone(),
        upstream: node.arg(0).to_owned(),
        version: label.to_owned(),
        weight: None,
    };
    for text in node.texts().skip(1) {
        match text.split_once('=') {
            Some(("version", label)) => label.clone_into(&mut variant.version),
            Some(("weight", share)) => match units::share(share) {
                Some(weight) => variant.weight = Some(weight),
                None => lower.fault(node, bad_share(share)),
            },
            _ => lower.fault(node, format!("invalid parameter \"{text}\"")),
        }
    }
    variant
}

fn weight(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let weight = match node.args.get(1) {
        None => units::share(node.arg(0)).or_else(|| of_total(node.arg(0), "100")),
        Some(word) => word.text.strip_prefix("total=").and_then(|it| of_total(node.arg(0), it)),
    };
    match weight {
        Some(weight) => {
            lower.once(node, scope.rollout().map(|it| &mut it.weight), Some(weight));
        }
        None => {
            let text = node.texts().collect::<Vec<_>>().join(" ");
            lower.fault(node, format!("{}, or N total=M", bad_share(&text)));
        }
    }
}

/// ingress-nginx's weight of a total, to the nearest basis point, of which a share has one at
/// least.
fn of_total(weight: &str, total: &str) -> Option<u16> {
    let (weight, total) = (units::number(weight)?, units::number(total)?);
    let nearest = weight.checked_mul(20_000)?.checked_add(total)? / total.checked_mul(2)?.max(1);
    let is_share = weight <= total && total > 0 && (nearest > 0) == (weight > 0);
    u16::try_from(nearest).ok().filter(|_| is_share)
}

fn bad_share(text: &str) -> String {
    format!("invalid share \"{text}\"; write 0% to 100%, 25bp")
}

fn steps(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some(rollout) = scope.rollout() else { return };
    if !rollout.steps.is_empty() {
        return lower.duplicate(node);
    }
    let text = node.texts().collect::<Vec<_>>().join(" ");
    for part in text.split(',').map(str::trim) {
        match step(part) {
            Some(step) => rollout.steps.push(step),
            None => {
                let help = "a step is SHARE TIME, a last SHARE, or \"pause\"";
                lower.fault(node, format!("invalid step \"{part}\"; {help}"));
            }
        }
    }
}

fn step(text: &str) -> Option<Step> {
    match text.split_ascii_whitespace().collect::<Vec<_>>()[..] {
        ["pause"] => Some(Step::Pause),
        [share] => Some(Step::End { weight: units::share(share)? }),
        [share, time] => {
            Some(Step::Hold { weight: units::share(share)?, for_ms: units::millis(time)? })
        }
        _ => None,
    }
}

fn limit(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some(rollout) = scope.rollout() else { return };
    let words: Vec<&str> = node.texts().collect();
    let at = node.at.clone();
    match words[..] {
        ["5xx_rate", "off"] => {
            let limit = FailureLimit { at, share: None };
            lower.once(node, Some(&mut rollout.failures), Some(limit));
        }
        ["5xx_rate", ">", share] => match units::share(share) {
            Some(share) => {
                let limit = FailureLimit { at, share: Some(share) };
                lower.once(node, Some(&mut rollout.failures), Some(limit));
            }
            None => lower.fault(node, bad_share(share)),
        },
        [quantile, "off"] if slower_share(quantile).is_some() => {
            let limit = LatencyLimit { at, share: None, over_ms: 0 };
            lower.once(node, Some(&mut rollout.latency), Some(limit));
        }
        [quantile, ">", time] if slower_share(quantile).is_some() => {
            let (share, Some(over_ms)) = (slower_share(quantile), units::millis(time)) else {
                return lower.fault(node, format!("invalid time \"{time}\"; write 500ms or 2s"));
            };
            let limit = LatencyLimit { at, share, over_ms };
            lower.once(node, Some(&mut rollout.latency), Some(limit));
        }
        _ => {
            let help = "write 5xx_rate > SHARE, pN > TIME (p99, p99.9), or either with off";
            lower.fault(node, format!("invalid limit \"{}\"; {help}", words.join(" ")));
        }
    }
}

/// `p99` is 100 basis points, `p99.9` is 10.
fn slower_share(quantile: &str) -> Option<u16> {
    let faster = units::percent(&format!("{}%", quantile.strip_prefix('p')?))?;
    u16::try_from(10_000 - faster).ok()
}

fn on_breach(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let action = match node.arg(0) {
        "rollback" => OnBreach::Rollback,
        "hold" => OnBreach::Hold,
        text => {
            let help = "it must be \"rollback\" or \"hold\"";
            return lower.fault(node, format!("invalid value \"{text}\"; {help}"));
        }
    };
    lower.once(node, scope.rollout().map(|it| &mut it.on_breach), Some(action));
}

fn evidence(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let words: Vec<&str> = node.texts().collect();
    let name = scope.rollout().map_or_else(String::new, |it| it.name.clone());
    let own = format!("moongate_rollout_evidence_total{{rollout=\"{name}\"}}");
    let prometheus = |url: &str, query: &str, interval_ms| {
        let (at, url, query) = (node.at.clone(), url.to_owned(), query.to_owned());
        Some(EvidenceSource::Prometheus(Prometheus { at, url, query, interval_ms }))
    };
    let every = |interval: &str| {
        interval.strip_prefix("interval=").and_then(units::millis).filter(|it| *it > 0)
    };
    let evidence = match words[..] {
        ["local"] => Some(EvidenceSource::Local),
        ["prometheus", url] => prometheus(url, &own, None),
        ["prometheus", url, interval] if interval.starts_with("interval=") => {
            every(interval).and_then(|it| prometheus(url, &own, Some(it)))
        }
        ["prometheus", url, query] => prometheus(url, query, None),
        ["prometheus", url, query, interval] => {
            every(interval).and_then(|it| prometheus(url, query, Some(it)))
        }
        _ => None,
    };
    match evidence {
        Some(evidence) => {
            lower.once(node, scope.rollout().map(|it| &mut it.evidence), Some(evidence));
        }
        None => {
            let help = "write local, or prometheus URL [\"QUERY\"] [interval=10s]";
            lower.fault(node, format!("invalid evidence \"{}\"; {help}", words.join(" ")));
        }
    }
}

fn webhook(_: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    if let Some(rollout) = scope.rollout() {
        rollout.webhooks.push(Webhook { at: node.at.clone(), url: node.arg(0).to_owned() });
    }
}
