//! `geo`: a variable by where a client is (`ngx_http_geo_module`).

use crate::config::model::{Geo, GeoNetwork, GeoProxy, GeoRange};
use crate::config::nginx::directive::{Arity, Directive, HTTP, Scope, custom};
use crate::config::nginx::directives::access::network_of;
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::{Body, Node};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

pub(super) const TABLE: &[Directive] = &[custom(
    "geo",
    HTTP,
    Arity::Between(1, 2),
    geo,
    "A variable by an address, the client's or that of a variable: `[$ADDRESS] $NAME { NETWORK \
     VALUE; … default VALUE; }`; also `delete`, `proxy`, `proxy_recursive`, `ranges`.",
)
.block()];

/// Ranges are kept in pieces of so many addresses, as nginx keeps them: what overlaps is judged
/// piece by piece.
const PIECE: u32 = 1 << 16;

/// A block that is being read.
struct Reading {
    geo: Geo,
    default: Option<String>,
    networks: BTreeMap<(IpAddr, u8), String>,
    /// By the first address: the last one and the value.
    ranges: BTreeMap<u32, (u32, String)>,
    by_range: bool,
    /// A line with a value was read.
    begun: bool,
}

fn geo(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let (source, variable) = match node.args.len() {
        2 => (Some(lower.variable(node, node.arg(0))), node.arg(1)),
        _ => (None, node.arg(0)),
    };
    let geo = Geo {
        at: node.at.clone(),
        source,
        variable: lower.variable(node, variable),
        default: String::new(),
        networks: Vec::new(),
        ranges: None,
        proxies: Vec::new(),
        proxy_recursive: false,
    };
    let mut reading = Reading {
        geo,
        default: None,
        networks: BTreeMap::new(),
        ranges: BTreeMap::new(),
        by_range: false,
        begun: false,
    };
    for line in node.children() {
        reading.line(lower, line);
    }
    if let Some(http) = scope.http() {
        http.geos.push(reading.done());
    }
}

impl Reading {
    fn line(&mut self, lower: &mut Lower<'_>, line: &Node) {
        if line.body != Body::None {
            return lower.fault(line, "unexpected \"{\" in a geo");
        }
        match (line.name.as_str(), line.args.len()) {
            ("ranges", 0) if self.begun => lower.fault(
                line,
                "the \"ranges\" directive must be the first directive inside \"geo\" block",
            ),
            ("ranges", 0) => self.by_range = true,
            ("proxy_recursive", 0) => self.geo.proxy_recursive = true,
            ("proxy", 1) => {
                if let Some((address, bits)) = network(lower, line, line.arg(0)) {
                    self.geo.proxies.push(GeoProxy { address, bits });
                }
            }
            (_, 1) => {
                self.begun = true;
                match self.by_range {
                    true => self.range(lower, line),
                    false => self.network(lower, line),
                }
            }
            _ => lower.fault(
                line,
                "invalid number of the geo parameters; a line is NETWORK VALUE, \"proxy NETWORK\", \
                 \"proxy_recursive\" or \"ranges\"",
            ),
        }
    }

    fn network(&mut self, lower: &mut Lower<'_>, line: &Node) {
        let value = line.arg(0).to_owned();
        if line.name == "default" {
            if let Some(old) = self.default.replace(value.clone()) {
                let text = format!("value: \"{value}\", old value: \"{old}\"");
                lower.warning(line, format!("duplicate network \"default\", {text}"));
            }
            return;
        }
        if line.name == "delete" {
            let Some(key) = network(lower, line, line.arg(0)) else { return };
            if self.networks.remove(&key).is_none() {
                lower.warning(line, format!("no network \"{}\" to delete", line.arg(0)));
            }
            return;
        }
        let Some(key) = network(lower, line, &line.name) else { return };
        if let Some(old) = self.networks.insert(key, value.clone()) {
            let text = format!("value: \"{value}\", old value: \"{old}\"");
            lower.warning(line, format!("duplicate network \"{}\", {text}", line.name));
        }
    }

    fn range(&mut self, lower: &mut Lower<'_>, line: &Node) {
        let value = line.arg(0);
        if line.name == "default" {
            if let Some(old) = self.default.replace(value.to_owned()) {
                let text = format!("\"{value}\", old value: \"{old}\"");
                lower.warning(line, format!("duplicate default geo range value: {text}"));
            }
            return;
        }
        let text = if line.name == "delete" { value } else { &line.name };
        let Some((first, last)) = range(text) else {
            let help = "it is FIRST-LAST, two IPv4 addresses";
            return lower.fault(line, format!("invalid range \"{text}\"; {help}"));
        };
        let (mut lacks, mut replaced) = (false, None);
        for (first, last) in pieces(first, last) {
            if line.name == "delete" {
                match self.ranges.get(&first).is_some_and(|it| it.0 == last) {
                    true => drop(self.ranges.remove(&first)),
                    false => lacks = true,
                }
                continue;
            }
            match self.insert(first, last, value) {
                Ok(None) => {}
                Ok(Some(old)) => replaced = replaced.or(Some(old)),
                Err((first, last)) => {
                    let (first, last) = (Ipv4Addr::from(first), Ipv4Addr::from(last));
                    let message = format!("range \"{text}\" overlaps \"{first}-{last}\"");
                    return lower.fault(line, message);
                }
            }
        }
        if lacks {
            lower.warning(line, format!("no address range \"{text}\" to delete"));
        }
        if let Some(old) = replaced {
            let values = format!("value: \"{value}\", old value: \"{old}\"");
            lower.warning(line, format!("duplicate range \"{text}\", {values}"));
        }
    }

    /// Adds a range within one piece, into another one if need be; the value that it replaces. What
    /// it overlaps otherwise is the error.
    fn insert(&mut self, first: u32, last: u32, value: &str) -> Result<Option<String>, (u32, u32)> {
        let touched = self.ranges.range(..=last).next_back();
        let Some((&begin, &(end, _))) = touched.filter(|(_, it)| it.0 >= first) else {
            self.ranges.insert(first, (last, value.to_owned()));
            return Ok(None);
        };
        if begin > first || end < last {
            return Err((begin, end));
        }
        let (_, old) = self.ranges.remove(&begin).unwrap_or_default();
        if begin < first {
            self.ranges.insert(begin, (first - 1, old.clone()));
        }
        if end > last {
            self.ranges.insert(last + 1, (end, old.clone()));
        }
        self.ranges.insert(first, (last, value.to_owned()));
        Ok((begin == first && end == last).then_some(old))
    }

    fn done(mut self) -> Geo {
        self.geo.default = self.default.unwrap_or_default();
        let networks = self.networks.into_iter();
        self.geo.networks =
            networks.map(|((address, bits), value)| GeoNetwork { address, bits, value }).collect();
        let mut ranges: Vec<GeoRange> = Vec::new();
        for (first, (last, value)) in self.ranges {
            // Pieces of one range are one again.
            if let Some(before) = ranges.last_mut()
                && u32::from(before.last).checked_add(1) == Some(first)
                && before.value == value
            {
                before.last = last.into();
                continue;
            }
            ranges.push(GeoRange { first: first.into(), last: last.into(), value });
        }
        self.geo.ranges = self.by_range.then_some(ranges);
        self.geo
    }
}

/// The network that `text` means (`ngx_http_geo_cidr_value`).
fn network(lower: &mut Lower<'_>, line: &Node, text: &str) -> Option<(IpAddr, u8)> {
    let Some((address, bits, is_exact)) = network_of(text) else {
        let help = "it is an address or a network such as 10.0.0.0/8";
        lower.fault(line, format!("invalid network \"{text}\"; {help}"));
        return None;
    };
    if !is_exact {
        lower.warning(line, format!("low address bits of {text} are meaningless"));
    }
    Some((address, bits))
}

/// Both ends of `FIRST-LAST`. nginx takes 255.255.255.255 for no address.
fn range(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-')?;
    let address = |text: &str| text.parse::<Ipv4Addr>().ok().filter(|it| !it.is_broadcast());
    let (first, last) = (u32::from(address(first)?), u32::from(address(last)?));
    (first <= last).then_some((first, last))
}

/// The parts of a range that lie in one piece each.
fn pieces(first: u32, last: u32) -> impl Iterator<Item = (u32, u32)> {
    (first / PIECE..=last / PIECE).map(move |piece| {
        let begin = piece * PIECE;
        (begin.max(first), last.min(begin + (PIECE - 1)))
    })
}
