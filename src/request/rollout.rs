//! Rollouts of one request: which variant it gets, and whose doing its response is.
//!
//! A rollout decides once a request, when its variable is first read, and the [`Decision`] keeps
//! what it decided. What the variant then makes of the request is its [`Charge`].
//!
//! [`Decision`]: super::Decision

use super::Request;
use super::connection::Address;
use super::decision::Picked;
use super::evaluate::put;
use crate::clock;
use crate::rollout::hash::hash;
use crate::rollout::layout::STABLE;
use crate::rollout::status::percent;
use crate::rollout::{Client, Ending, Evidence, InFlight, Pick, Reason};
use crate::snapshot::rollout::{Rollout, Variant};
use crate::vars::Builtin;
use bytes::Bytes;
use std::cell::RefCell;
use std::sync::Arc;

/// The metadata that tells a gRPC upstream its label.
const METADATA: &[u8] = b"canary-version";

thread_local! {
    /// Memory for keys and headers that picks read.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A request on its way through a variant: it is evidence for or against it. Dropped unended, only
/// a failure that is known by then counts.
#[derive(Debug)]
pub struct Charge {
    /// The rollout's number in the snapshot.
    pub rollout: u16,
    /// The variant's number.
    pub variant: u8,
    /// What is known of the end.
    ending: Ending,
    in_flight: Option<(Arc<Evidence>, InFlight)>,
}

impl Charge {
    fn end(&mut self, ending: Ending) {
        if let Some((evidence, in_flight)) = self.in_flight.take() {
            evidence.end(in_flight, ending, clock::monotonic());
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let ending = if self.ending.is_failure() { self.ending } else { Ending::Unjudged };
        self.end(ending);
    }
}

impl Request {
    /// The upstream of the variant that rollout `number` gives the request; none in a cycle.
    pub fn variant_upstream(&self, number: u16) -> Option<Bytes> {
        let variant = self.picked(number)?.pick.variant;
        self.variant(number, variant).map(|it| it.upstream.clone())
    }

    /// What rollout `number` decides for the request: the first time it is asked.
    pub fn picked(&self, number: u16) -> Option<Picked> {
        self.picked_with(number, None)
    }

    /// The same with another key than the configured one, where nothing is decided yet.
    pub fn picked_with(&self, number: u16, key: Option<&[u8]>) -> Option<Picked> {
        if let Some(known) = self.known_pick(number) {
            return Some(known);
        }
        // A log that asks decides nothing any more.
        if self.headers_sent.get() {
            return None;
        }
        if let Some(parent) = self.parent.get() {
            return self.inherit(parent.picked_with(number, key)?);
        }
        let snapshot = &*self.snapshot;
        let rollout = snapshot.assignments.get(usize::from(number))?;
        let _level = self.deeper(&rollout.name)?;
        let asked = self.ask(rollout, key);
        // A rule that reads the rollout's own variable has been here.
        if let Some(known) = self.known_pick(number) {
            return Some(known);
        }
        let wanted = asked.variant;
        let is_gone = |it: &Variant| !it.group.has_peer(clock::monotonic().as_ms());
        let pick = match self.variant(number, wanted) {
            Some(variant) if wanted != STABLE && is_gone(variant) => {
                asked.on_stable(Reason::NoPeer)
            }
            _ => asked,
        };
        let weight = rollout.live.shares().layout.share(1);
        let picked = Picked { rollout: number, pick, wanted, weight };
        if let Some(budget) = &rollout.retries {
            budget.earn();
        }
        self.decide(&picked);
        self.decision.borrow_mut().rollouts.push(picked.clone());
        Some(picked)
    }

    /// What the request has got that made this one; a cookie is that one's to issue.
    fn inherit(&self, mut picked: Picked) -> Option<Picked> {
        picked.pick.issue = None;
        let variant = self.variant(picked.rollout, picked.pick.variant)?;
        let mut decision = self.decision.borrow_mut();
        decision.version = variant.label.clone();
        decision.by_script = false;
        decision.reason = Bytes::from_static(picked.pick.reason.as_str().as_bytes());
        decision.rollouts.push(picked.clone());
        Some(picked)
    }

    fn known_pick(&self, number: u16) -> Option<Picked> {
        self.decision.borrow().rollouts.iter().find(|it| it.rollout == number).cloned()
    }

    fn ask(&self, rollout: &Rollout, key: Option<&[u8]>) -> Pick {
        let mut random = rand::random::<u64>;
        let mut client = Client {
            vars: self,
            address: self.client_ip(),
            now_s: clock::cached_s(),
            random: &mut random,
            key,
        };
        // Rules may read what another rollout decides, which has its own memory then.
        let mut scratch = SCRATCH.take();
        let pick = rollout.assign.pick(rollout.live.shares(), &mut client, &mut scratch);
        SCRATCH.set(scratch);
        pick
    }

    /// A variant of rollout `number`.
    pub fn variant(&self, number: u16, variant: u8) -> Option<&Variant> {
        self.snapshot.assignments.get(usize::from(number))?.variants.get(usize::from(variant))
    }

    /// Writes what was decided into the Decision, and counts it.
    fn decide(&self, picked: &Picked) {
        let reason = picked.pick.reason;
        let Some(variant) = self.variant(picked.rollout, picked.pick.variant) else { return };
        if let Some(counter) = variant.decisions.get(reason as usize) {
            counter.inc();
        }
        let mut decision = self.decision.borrow_mut();
        decision.version = variant.label.clone();
        decision.by_script = false;
        decision.reason = Bytes::from_static(reason.as_str().as_bytes());
    }

    /// `$rollout_reason` and `$rollout_weight`: of the rollout that the response is charged to,
    /// else of the one that decided last.
    pub(super) fn append_rollout(&self, builtin: Builtin, out: &mut Vec<u8>) -> bool {
        let decision = self.decision.borrow();
        let charged = self.charge.borrow().as_ref().map(|it| it.rollout);
        let of_charge = decision.rollouts.iter().find(|it| Some(it.rollout) == charged);
        let Some(picked) = of_charge.or(decision.rollouts.last()) else { return false };
        if builtin == Builtin::RolloutReason {
            return put(Some(picked.pick.reason.as_str().as_bytes()), out);
        }
        put(Some(percent(picked.weight).as_bytes()), out)
    }

    /// Charges what follows to the variant that leads to the upstream `name`: the one that a
    /// rollout has picked, else the one whose label a script has given the request.
    pub fn begin_charge(&self, name: &str) {
        let snapshot = &*self.snapshot;
        if snapshot.assignments.is_empty() {
            return;
        }
        let Some((number, variant, pick)) = self.charged(name) else {
            // Another upstream answers in a variant's place.
            drop(self.charge.take());
            return;
        };
        let rollout = &snapshot.assignments[usize::from(number)];
        let evidence = rollout.live.evidence();
        // Another configuration may count other variants by now.
        let in_flight = (usize::from(variant) < evidence.variants()).then(|| {
            let user = pick.as_ref().and_then(|it| it.user).unwrap_or_else(|| self.sender());
            let by_weight = pick.as_ref().is_some_and(|it| it.reason.is_by_weight());
            let in_flight = evidence.begin(variant, by_weight, user, clock::monotonic());
            (Arc::clone(evidence), in_flight)
        });
        if let Some(it) = self.variant(number, variant) {
            let mut decision = self.decision.borrow_mut();
            decision.version = it.label.clone();
            if let Some(pick) = pick {
                decision.reason = Bytes::from_static(pick.reason.as_str().as_bytes());
            }
        }
        let ending = Ending::Unjudged;
        let charge = Charge { rollout: number, variant, ending, in_flight };
        drop(self.charge.replace(Some(charge)));
    }

    /// (rollout, variant, what it picked) whose doing a response of the upstream `name` is.
    fn charged(&self, name: &str) -> Option<(u16, u8, Option<Pick>)> {
        let leads = |number: u16, variant: u8| {
            let variant = self.variant(number, variant);
            variant.is_some_and(|it| it.upstream.eq_ignore_ascii_case(name.as_bytes()))
        };
        let decision = self.decision.borrow();
        let picked =
            decision.rollouts.iter().find(|it| leads(it.rollout, it.pick.variant)).cloned();
        if let Some(it) = picked {
            return Some((it.rollout, it.pick.variant, Some(it.pick)));
        }
        if !decision.by_script || decision.version.is_empty() {
            return None;
        }
        let numbered = (0u16..).zip(&self.snapshot.assignments);
        let labelled = numbered
            .filter_map(|(number, it)| Some((number, it.labelled(&decision.version)?)))
            .collect::<smallvec::SmallVec<[_; 4]>>();
        let (number, variant) =
            *labelled.iter().find(|it| leads(it.0, it.1)).or(labelled.first())?;
        Some((number, variant, None))
    }

    /// Who sent the request, where no key says it: the hash of the address; 0 is nobody.
    fn sender(&self) -> u64 {
        match &self.connection.client {
            Address::Inet(address) => match address.ip() {
                std::net::IpAddr::V4(it) => hash(0, &it.octets()),
                std::net::IpAddr::V6(it) => hash(0, &it.octets()),
            },
            Address::Unix => 0,
        }
    }

    /// Whether the response is made by a canary that a rollout's stable may stand in for.
    pub fn may_retry_on_stable(&self) -> bool {
        let charge = self.charge.borrow();
        let Some(charge) = charge.as_ref().filter(|it| it.variant != STABLE) else { return false };
        let rollout = &self.snapshot.assignments[usize::from(charge.rollout)];
        rollout.retries.as_ref().is_some_and(|it| it.spend())
    }

    /// Ends the canary's charge, as `ending` says, and goes on with stable: the upstream's name.
    pub fn retry_on_stable(&self, ending: Ending) -> Option<Bytes> {
        let number = self.charge.borrow().as_ref()?.rollout;
        self.note_ending(ending);
        self.end_charge();
        let stable = self.variant(number, STABLE)?;
        let mut decision = self.decision.borrow_mut();
        decision.version = stable.label.clone();
        decision.reason = Bytes::from_static(Reason::Retried.as_str().as_bytes());
        if let Some(it) = decision.rollouts.iter_mut().find(|it| it.rollout == number) {
            it.pick = it.pick.on_stable(Reason::Retried);
        }
        drop(decision);
        if let Some(counter) = stable.decisions.get(Reason::Retried as usize) {
            counter.inc();
        }
        // It is told its label; what comes of it is no evidence, for it was not chosen.
        *self.charge.borrow_mut() = Some(Charge {
            rollout: number,
            variant: STABLE,
            ending: Ending::Unjudged,
            in_flight: None,
        });
        Some(stable.upstream.clone())
    }

    /// Notes how the response ends for the variant that makes it, as far as is known: the last
    /// word counts.
    pub fn note_ending(&self, ending: Ending) {
        if let Some(charge) = self.charge.borrow_mut().as_mut() {
            charge.ending = ending;
        }
    }

    /// Notes the `grpc-status` of a response, from its head or its trailers.
    pub fn note_grpc_status(&self, grpc: u32) {
        if let Some(charge) = self.charge.borrow_mut().as_mut()
            && let Ending::Answered { status, .. } = charge.ending
        {
            charge.ending = Ending::Answered { status, grpc: Some(grpc) };
        }
    }

    /// What follows waits for the client: it is not the variant's time.
    pub fn stop_charge_clock(&self) {
        if let Some(charge) = self.charge.borrow_mut().as_mut()
            && let Some((evidence, in_flight)) = &mut charge.in_flight
        {
            evidence.stop_clock(in_flight, clock::monotonic());
        }
    }

    /// The variant has done its part: what is known is counted. Its label stays.
    pub fn end_charge(&self) {
        if let Some(charge) = self.charge.borrow_mut().as_mut() {
            charge.end(charge.ending);
        }
    }

    /// The field that tells the upstream which variant it is, and its label: an HTTP header, or
    /// metadata of `grpc`.
    pub fn label_field(&self, grpc: bool) -> Option<(&[u8], &Bytes)> {
        let (number, variant) = self.charge.borrow().as_ref().map(|it| (it.rollout, it.variant))?;
        let header = &self.snapshot.assignments[usize::from(number)].header;
        let name = if grpc { METADATA } else { header };
        Some((name, &self.variant(number, variant)?.label))
    }

    /// The `Set-Cookie` values that rollouts owe the client, with the cookies' names; each once.
    pub fn issued_cookies(&self) -> Vec<(String, String)> {
        let mut issued = Vec::new();
        for picked in &mut self.decision.borrow_mut().rollouts {
            let rollout = &self.snapshot.assignments[usize::from(picked.rollout)];
            if let (Some(id), Some(cookie)) = (picked.pick.issue.take(), &rollout.cookie)
                && let Some(value) = rollout.assign.cookie_value(&id)
            {
                let name = cookie.name.to_string();
                let attributes = &cookie.attributes;
                issued.push((name, format!("{}={value}{attributes}", cookie.name)));
            }
        }
        issued
    }

    /// The version as a label of metrics: where there are rollouts, only a variant's.
    pub fn version_label(&self) -> Bytes {
        let version = self.decision.borrow().version.clone();
        let rollouts = &self.snapshot.assignments;
        let is_known = version.is_empty()
            || rollouts.is_empty()
            || rollouts.iter().any(|it| it.labelled(&version).is_some());
        if is_known { version } else { Bytes::from_static(b"other") }
    }
}
