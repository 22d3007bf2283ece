//! The phase before access: `limit_req`, then `limit_conn` (nginx's order).

use super::error::Result;
use super::phases::{Flow, Serving, cut, log_as};
use crate::clock;
use crate::limits::{Refusal, Rule, Verdict, weigh};
use crate::log::Level;
use crate::metrics;
use crate::request::Request;
use crate::request::limits::Limited;
use crate::snapshot::limits::{Limits, OnExcess};
use crate::vars::Template;
use bytes::Bytes;
use smallvec::SmallVec;
use std::time::Duration;

/// Longer keys are not counted.
const LONGEST_REQUEST_KEY: usize = 65_535;
const LONGEST_CONNECTION_KEY: usize = 255;

/// Weighs a request, unless it was weighed already: once, with its subrequests.
///
/// # Errors
/// The client has gone while the request waited.
pub(super) async fn run(serving: &mut Serving<'_>) -> Result<Flow> {
    let request = serving.request.clone();
    let Some(limits) = request.conf().limits.clone() else { return Ok(Flow::Continue) };
    if serving.worker.is_dry {
        return Ok(Flow::Continue);
    }
    if request.main().limits.requests.get().is_none() {
        match requests(&request, &limits) {
            Next::Pass => {}
            Next::Refuse => return Ok(Flow::Status(limits.on_requests.status)),
            Next::Wait(ms) => wait(serving, ms).await?,
        }
    }
    if request.main().limits.connections.get().is_none() {
        return Ok(connections(&request, &limits));
    }
    Ok(Flow::Continue)
}

/// What `limit_req` decides.
enum Next {
    Pass,
    Wait(u64),
    Refuse,
}

fn requests(request: &Request, limits: &Limits) -> Next {
    let lines = &limits.requests;
    let keys: SmallVec<[Option<Bytes>; 2]> =
        lines.iter().map(|it| key(request, &it.key, LONGEST_REQUEST_KEY)).collect();
    let rules: SmallVec<[Rule<'_>; 2]> = lines
        .iter()
        .zip(&keys)
        .map(|(it, key)| {
            let key = key.as_deref();
            Rule { zone: &it.zone, key, rate: it.rate, burst: it.burst, delay: it.delay }
        })
        .collect();
    let OnExcess { level, dry_run, .. } = limits.on_requests;
    let dry = if dry_run { ", dry run" } else { "" };
    let say = |level: Level, what: &str, comma: &str, excess: u64, rule: usize| {
        let (whole, part, zone) = (excess / 1000, excess % 1000, &lines[rule].name);
        request.log(
            level,
            format_args!("{what}{dry}, excess: {whole}.{part:03}{comma} by zone \"{zone}\""),
        );
    };
    let (said, rule, next) = match weigh(&rules, clock::monotonic().as_ms()) {
        Verdict::Exempt => return Next::Pass,
        Verdict::Pass => {
            request.main().limits.requests.set(Some(Limited::Passed));
            return Next::Pass;
        }
        Verdict::Delay { ms, excess, rule } => {
            say(level.below(), "delaying request", ",", excess, rule);
            (Limited::Delayed, rule, Next::Wait(ms))
        }
        Verdict::Reject { excess, rule } => {
            say(level, "limiting requests", "", excess, rule);
            (Limited::Rejected, rule, Next::Refuse)
        }
        Verdict::NoRoom { rule } => {
            let zone = &lines[rule].name;
            let text = "could not allocate node in limit_req zone";
            request.log(Level::Alert, format_args!("{text} \"{zone}\""));
            (Limited::Rejected, rule, Next::Refuse)
        }
    };
    let said = if dry_run { dried(said) } else { said };
    request.main().limits.requests.set(Some(said));
    count(&lines[rule].name, said);
    if dry_run { Next::Pass } else { next }
}

fn connections(request: &Request, limits: &Limits) -> Flow {
    let OnExcess { status, level, dry_run } = limits.on_connections;
    let main = request.main();
    for line in &limits.connections {
        let Some(key) = key(request, &line.key, LONGEST_CONNECTION_KEY) else { continue };
        main.limits.connections.set(Some(Limited::Passed));
        let refusal = match line.zone.hold(&key, line.most) {
            Ok(held) => {
                main.limits.held.borrow_mut().push(held);
                continue;
            }
            Err(refusal) => refusal,
        };
        let (zone, dry) = (&line.name, if dry_run { ", dry run," } else { "" });
        match refusal {
            Refusal::Full => {
                request.log(level, format_args!("limiting connections{dry} by zone \"{zone}\""));
            }
            Refusal::NoRoom => request.log(
                Level::Crit,
                format_args!("ngx_slab_alloc() failed: no memory in limit_conn_zone \"{zone}\""),
            ),
        }
        main.limits.held.borrow_mut().clear();
        let said = if dry_run { Limited::RejectedDryRun } else { Limited::Rejected };
        main.limits.connections.set(Some(said));
        count(zone, said);
        return if dry_run { Flow::Continue } else { Flow::Status(status) };
    }
    Flow::Continue
}

/// The value that a line counts by; an empty one is not counted.
fn key(request: &Request, key: &Template, longest: usize) -> Option<Bytes> {
    let value = key.value(request);
    if value.len() > longest {
        let (text, shown) = (key.text(), String::from_utf8_lossy(&value));
        request.log(
            Level::Error,
            format_args!(
                "the value of the \"{text}\" key is more than {longest} bytes: \"{shown}\""
            ),
        );
        return None;
    }
    Some(value).filter(|it| !it.is_empty())
}

fn dried(said: Limited) -> Limited {
    match said {
        Limited::Delayed => Limited::DelayedDryRun,
        Limited::Rejected => Limited::RejectedDryRun,
        said => said,
    }
}

fn count(zone: &str, said: Limited) {
    let result = said.as_str().to_ascii_lowercase();
    metrics::catalog().limited_requests.with_label_values(&[zone, &*result]).inc();
}

/// A request waits its turn, unless its client leaves.
async fn wait(serving: &mut Serving<'_>, ms: u64) -> Result<()> {
    let request = serving.request.clone();
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(ms)) => return Ok(()),
        () = serving.client.gone() => {}
    }
    request.log(Level::Info, format_args!("client prematurely closed connection"));
    log_as(&request, 499);
    cut("the client went away")
}
