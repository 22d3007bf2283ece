//! What limits have said of a request, and how fast its answer may leave.

use super::Request;
use crate::config::units;
use crate::limits::Held;
use crate::log::Level;
use crate::vars::Template;
use std::cell::{Cell, RefCell};

/// `$limit_req_status`, `$limit_conn_status`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// Within the limit.
    Passed,
    /// Let in after a while.
    Delayed,
    /// Turned away.
    Rejected,
    /// Would have been delayed.
    DelayedDryRun,
    /// Would have been turned away.
    RejectedDryRun,
}

impl Limited {
    /// As the variables show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "PASSED",
            Self::Delayed => "DELAYED",
            Self::Rejected => "REJECTED",
            Self::DelayedDryRun => "DELAYED_DRY_RUN",
            Self::RejectedDryRun => "REJECTED_DRY_RUN",
        }
    }
}

/// The limits of one request. Those of a subrequest are its main request's: it is limited once.
#[derive(Debug, Default)]
pub struct Limits {
    /// What `limit_req` said.
    pub requests: Cell<Option<Limited>>,
    /// What `limit_conn` said.
    pub connections: Cell<Option<Limited>>,
    /// It is counted in these zones until it ends.
    pub held: RefCell<Vec<Held>>,
    /// Bytes a second, once they are known (`$limit_rate`); 0 is no limit.
    pub rate: Cell<Option<u64>>,
    /// Bytes ahead of that.
    pub after: Cell<u64>,
}

impl Request {
    /// The response begins: what `limit_rate` says is settled, unless a variable or the upstream
    /// has said something else.
    pub fn settle_pace(&self) {
        let Some(pace) = &self.conf().pace else { return };
        if self.limits.rate.get().is_none() {
            self.limits.rate.set(Some(self.size(&pace.rate)));
        }
        if let Some(after) = &pace.after {
            self.limits.after.set(self.size(after));
        }
    }

    /// A size that a request asks for; one that is none counts as 0, and is logged.
    fn size(&self, text: &Template) -> u64 {
        let value = text.value(self);
        let shown = String::from_utf8_lossy(&value);
        units::bytes(&shown).unwrap_or_else(|| {
            self.log(Level::Error, format_args!("invalid size \"{shown}\""));
            0
        })
    }

    /// `set $limit_rate VALUE`
    pub(super) fn assign_limit_rate(&self, value: &[u8]) {
        let shown = String::from_utf8_lossy(value);
        match units::bytes(&shown) {
            Some(rate) => self.limits.rate.set(Some(rate)),
            None => self.log(Level::Error, format_args!("invalid $limit_rate \"{shown}\"")),
        }
    }
}
