//! Limits, compiled: zones are looked up by their names, with what they have counted so far.

use super::Build;
use crate::config::diagnostic::At;
use crate::config::model::{Http, Settings};
use crate::limits::{Connections, Rates};
use crate::log::Level;
use crate::snapshot::limits::{ConnectionLimit, Limits, OnExcess, Pace, RequestLimit};
use crate::vars::Template;
use std::collections::HashMap;
use std::sync::Arc;

/// The zones of a configuration under way.
#[derive(Default)]
pub(super) struct Zones {
    requests: HashMap<String, (Arc<Rates>, Template, u64)>,
    connections: HashMap<String, (Arc<Connections>, Template)>,
}

impl Build<'_> {
    /// Finds or makes the zones; those of the configuration in force go on counting.
    pub(super) fn zones(&mut self, http: &Http) {
        for line in &http.limit_req_zones {
            let key = self.template(&line.key, &line.at);
            let rate = u64::from(line.rate) * 1000 / u64::from(line.per_s.max(1));
            match self.inputs.limits.rates(&line.name, &line.key, line.size_bytes) {
                Ok(zone) => {
                    self.zones.requests.insert(line.name.clone(), (zone, key, rate.max(1)));
                }
                Err(error) => self.diagnostics.fault(&line.at, format!("limit_req {error}")),
            }
        }
        for line in &http.limit_conn_zones {
            let key = self.template(&line.key, &line.at);
            match self.inputs.limits.connections(&line.name, &line.key, line.size_bytes) {
                Ok(zone) => {
                    self.zones.connections.insert(line.name.clone(), (zone, key));
                }
                Err(error) => self.diagnostics.fault(&line.at, format!("limit_conn_zone {error}")),
            }
        }
    }

    /// The limits of a location; `None` where there are none.
    pub(super) fn limits(&mut self, settings: &Settings) -> Option<Arc<Limits>> {
        let requests: Vec<_> = settings
            .limit_req
            .iter()
            .flatten()
            .filter_map(|line| {
                // One that is missing is a fault that was told.
                let (zone, key, rate) = self.zones.requests.get(&line.zone)?;
                Some(RequestLimit {
                    name: line.zone.as_str().into(),
                    zone: Arc::clone(zone),
                    key: key.clone(),
                    rate: *rate,
                    burst: u64::from(line.burst) * 1000,
                    delay: line.delay.map_or(u64::MAX, |it| u64::from(it) * 1000),
                })
            })
            .collect();
        let connections: Vec<_> = settings
            .limit_conn
            .iter()
            .flatten()
            .filter_map(|line| {
                let (zone, key) = self.zones.connections.get(&line.zone)?;
                Some(ConnectionLimit {
                    name: line.zone.as_str().into(),
                    zone: Arc::clone(zone),
                    key: key.clone(),
                    most: u32::from(line.connections),
                })
            })
            .collect();
        if requests.is_empty() && connections.is_empty() {
            return None;
        }
        let on_excess = |status: Option<u16>, level: Option<u8>, dry_run: Option<bool>| OnExcess {
            status: status.unwrap_or(503),
            level: level.and_then(Level::from_number).unwrap_or(Level::Error),
            dry_run: dry_run.unwrap_or(false),
        };
        Some(Arc::new(Limits {
            requests: requests.into(),
            on_requests: on_excess(
                settings.limit_req_status,
                settings.limit_req_log_level,
                settings.limit_req_dry_run,
            ),
            connections: connections.into(),
            on_connections: on_excess(
                settings.limit_conn_status,
                settings.limit_conn_log_level,
                settings.limit_conn_dry_run,
            ),
        }))
    }

    /// `limit_rate`; `None` where there is none, or it is 0.
    pub(super) fn pace(&mut self, settings: &Settings, at: &At) -> Option<Arc<Pace>> {
        let after = settings.limit_rate_after.as_deref().filter(|it| *it != "0");
        let after = after.map(|it| self.template(it, at));
        let rate = settings.limit_rate.as_deref().filter(|it| *it != "0");
        if rate.is_none() && after.is_none() {
            return None;
        }
        // A variable may set a rate where the configuration has none.
        Some(Arc::new(Pace { rate: self.template(rate.unwrap_or("0"), at), after }))
    }
}
