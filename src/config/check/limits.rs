//! Zones of limits: each is one thing, and each that is used is there.

use crate::config::diagnostic::Diagnostics;
use crate::config::model::{Http, Settings};
use std::collections::BTreeMap;

/// What a zone counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    Requests,
    Connections,
}

/// Zones by name.
pub(super) type Zones<'a> = BTreeMap<&'a str, Counts>;

/// The zones of `http`; nginx has one room for all names of zones, and `lua_shared_dict`'s.
pub(super) fn zones<'a>(http: &'a Http, diagnostics: &mut Diagnostics) -> Zones<'a> {
    let mut zones = Zones::new();
    let requests = http.limit_req_zones.iter().map(|it| (&it.at, &it.name, Counts::Requests));
    let connections =
        http.limit_conn_zones.iter().map(|it| (&it.at, &it.name, Counts::Connections));
    let is_dict = |name: &str| http.lua.shared_dicts.iter().any(|it| it.name == name);
    for (at, name, counts) in requests.chain(connections) {
        match zones.insert(name, counts) {
            None if !is_dict(name) => {}
            Some(before) if before == counts => {
                diagnostics.fault(at, format!("the zone \"{name}\" is there already"));
            }
            _ => diagnostics.fault(at, other_use(name)),
        }
    }
    for zone in http.limit_req_zones.iter().filter(|it| it.rate == 0 || it.per_s == 0) {
        diagnostics.fault(&zone.at, format!("invalid rate of zone \"{}\"", zone.name));
    }
    zones
}

/// Whether the zones that `settings` use are there.
pub(super) fn settings(settings: &Settings, zones: &Zones<'_>, diagnostics: &mut Diagnostics) {
    let requests = settings.limit_req.iter().flatten();
    let requests = requests.map(|it| (&it.at, &it.zone, Counts::Requests));
    let connections = settings.limit_conn.iter().flatten();
    let connections = connections.map(|it| (&it.at, &it.zone, Counts::Connections));
    for (at, name, counts) in requests.chain(connections) {
        match zones.get(name.as_str()) {
            Some(found) if *found == counts => {}
            Some(_) => diagnostics.fault(at, other_use(name)),
            None => {
                let kind = if counts == Counts::Requests { "req" } else { "conn" };
                let help = format!("no limit_{kind}_zone has that name");
                diagnostics.fault(at, format!("zero size shared memory zone \"{name}\"; {help}"));
            }
        }
    }
}

fn other_use(name: &str) -> String {
    format!("the shared memory zone \"{name}\" is already declared for a different use")
}
