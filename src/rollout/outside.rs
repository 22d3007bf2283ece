//! A rollout whose evidence another program has: what a look gets of it, and when there is none.
//!
//! An answer that does not come, or in which nothing grows, is no evidence: the rollout holds, it
//! neither advances nor rolls back.

use super::live::Source;
use super::plan::Plan;
use super::prometheus::{Feed, Reader};
use super::state::Seen;
use super::status::duration;
use crate::clock::Tick;
use crate::config::model;
use std::sync::Arc;

/// Queries without a new request, until there is no data.
const MOST_EMPTY: u64 = 5;

/// The evidence of one rollout, from elsewhere.
#[derive(Debug)]
pub struct Outside {
    settings: model::Prometheus,
    feed: Arc<Feed>,
    reader: Reader,
    /// When something grew last.
    grown: Tick,
    /// Why there is no evidence.
    fault: Option<String>,
}

impl Outside {
    /// What `settings` name, for `plan`; none where the URL is invalid.
    pub fn new(settings: &model::Prometheus, plan: &Plan, now: Tick) -> Option<Self> {
        Some(Self {
            settings: settings.clone(),
            feed: Arc::new(Feed::new(settings)?),
            reader: Reader::new(plan),
            grown: now,
            fault: Some("no answer yet".to_owned()),
        })
    }

    /// Whether it is what `settings` name.
    pub fn is_of(&self, settings: &model::Prometheus) -> bool {
        self.settings == *settings
    }

    /// What asks; somebody must run it.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Where it comes from, for people.
    pub fn name(&self) -> &str {
        &self.settings.url
    }

    /// Why there is no evidence now.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// What a look at `now` gets; true where a query just failed.
    pub fn source(&mut self, now: Tick) -> (Source, bool) {
        let mut has_failed = false;
        let mut seen = Vec::new();
        if let Some(answer) = self.feed.take() {
            match answer.and_then(|it| self.reader.read(&it)) {
                Ok(news) => {
                    self.fault = None;
                    if news.iter().any(has_requests) {
                        self.grown = now;
                    }
                    seen = news;
                }
                Err(why) => {
                    has_failed = true;
                    self.fault = Some(why);
                }
            }
        }
        let patience = self.feed.interval_ms().saturating_mul(MOST_EMPTY);
        if self.fault.is_none() && now.ms_since(self.grown) > patience {
            self.fault = Some(format!("no request for {}", duration(patience)));
        }
        let is_silent = self.fault.is_some();
        (if is_silent { Source::Silent } else { Source::Outside(seen) }, has_failed)
    }
}

fn has_requests(seen: &Seen) -> bool {
    let intervals = [&seen.failures, &seen.slow];
    intervals.iter().any(|it| it.stable.requests + it.all.requests > 0)
}

#[cfg(test)]
mod tests;
