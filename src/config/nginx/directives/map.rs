//! `map` and `split_clients`: variables made of others.

use crate::config::model::{Map, MapEntry, SplitClients, SplitPart};
use crate::config::nginx::directive::{Arity, Directive, HTTP, Scope, custom};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::{Body, Node};
use crate::config::units;
use std::collections::BTreeSet;

pub(super) const TABLE: &[Directive] = &[
    custom(
        "map",
        HTTP,
        Arity::Exactly(2),
        map,
        "A variable looked up from a text: `SOURCE $NAME { VALUE RESULT; … default RESULT; }`.",
    )
    .block(),
    custom(
        "split_clients",
        HTTP,
        Arity::Exactly(2),
        split_clients,
        "A variable by shares of a hash: `KEY $NAME { 5% RESULT; * RESULT; }`.",
    )
    .block(),
];

fn map(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let mut map = Map {
        at: node.at.clone(),
        source: lower.text(node, node.arg(0)),
        variable: lower.variable(node, node.arg(1)),
        hostnames: false,
        volatile: false,
        default: String::new(),
        entries: Vec::new(),
    };
    let mut has_default = false;
    let mut seen = BTreeSet::new();
    for line in node.children() {
        if line.body != Body::None {
            lower.fault(line, "unexpected \"{\" in a map");
            continue;
        }
        match (line.name.as_str(), line.args.len()) {
            ("hostnames", 0) => map.hostnames = true,
            ("volatile", 0) => map.volatile = true,
            ("default", 1) => {
                if has_default {
                    lower.fault(line, "duplicate default map parameter");
                }
                has_default = true;
                map.default = lower.text(line, line.arg(0));
            }
            (name, 1) => {
                let literal = name.starts_with('\\');
                let key = name.strip_prefix('\\').unwrap_or(name);
                let is_regex = key.starts_with('~') && !literal;
                if !is_regex && !seen.insert(key.to_ascii_lowercase()) {
                    lower.fault(line, format!("conflicting parameter \"{key}\""));
                }
                let (at, key) = (line.at.clone(), key.to_owned());
                let value = lower.text(line, line.arg(0));
                map.entries.push(MapEntry { at, key, literal, value });
            }
            _ => lower.fault(
                line,
                "invalid number of the map parameters; a line is VALUE RESULT, \"hostnames\" or \
                 \"volatile\"",
            ),
        }
    }
    if let Some(http) = scope.http() {
        http.maps.push(map);
    }
}

fn split_clients(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let mut split = SplitClients {
        at: node.at.clone(),
        source: lower.text(node, node.arg(0)),
        variable: lower.variable(node, node.arg(1)),
        parts: Vec::new(),
    };
    for line in node.children() {
        if line.args.len() != 1 || line.body != Body::None {
            lower.fault(
                line,
                "invalid number of the split_clients parameters; a line is SHARE RESULT",
            );
            continue;
        }
        let basis_points = units::percent(&line.name);
        if basis_points.is_none() && line.name != "*" {
            let help = "write 0.01% to 100%, or * for the rest";
            lower.fault(line, format!("invalid percent value \"{}\"; {help}", line.name));
            continue;
        }
        let value = lower.text(line, line.arg(0));
        split.parts.push(SplitPart { basis_points, value });
    }
    if let Some(http) = scope.http() {
        http.split_clients.push(split);
    }
}
