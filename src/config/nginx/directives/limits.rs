//! How much a client may ask for: `limit_req`, `limit_conn`, `limit_rate` and what belongs to them.

use crate::config::model::{LimitConn, LimitConnZone, LimitReq, LimitReqZone, Text};
use crate::config::nginx::directive::{
    Arity, Directive, HSL, HSLI, HTTP, ONE, Scope, custom, flag, setting,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use crate::config::units;

pub(super) const TABLE: &[Directive] = &[
    custom(
        "limit_req_zone",
        HTTP,
        Arity::Exactly(3),
        req_zone,
        "`KEY zone=NAME:SIZE rate=Nr/s|Nr/m`: how often requests of one key may come.",
    ),
    custom(
        "limit_req",
        HSL,
        Arity::Between(1, 3),
        req,
        "`zone=NAME [burst=N] [nodelay | delay=N]`: who is ahead of the rate waits, or is refused.",
    ),
    custom("limit_req_status", HSL, ONE, status, "The status of a refusal; default 503."),
    custom(
        "limit_req_log_level",
        HSL,
        ONE,
        level,
        "`info`, `notice`, `warn` or `error` (default) for refusals; delays are a level below.",
    ),
    flag("limit_req_dry_run", HSL, setting!(limit_req_dry_run), "Counts and logs only."),
    custom(
        "limit_conn_zone",
        HTTP,
        Arity::Exactly(2),
        conn_zone,
        "`KEY zone=NAME:SIZE`: requests of one key that are being served.",
    ),
    custom(
        "limit_conn",
        HSL,
        Arity::Exactly(2),
        conn,
        "`NAME N`: so many requests of a key are served at a time.",
    ),
    custom("limit_conn_status", HSL, ONE, status, "The status of a refusal; default 503."),
    custom("limit_conn_log_level", HSL, ONE, level, "As `limit_req_log_level`."),
    flag("limit_conn_dry_run", HSL, setting!(limit_conn_dry_run), "Counts and logs only."),
    custom(
        "limit_rate",
        HSLI,
        ONE,
        size,
        "Bytes a second that a response may take, with variables; default 0, no limit.",
    ),
    custom(
        "limit_rate_after",
        HSLI,
        ONE,
        size,
        "Bytes of a response that `limit_rate` leaves alone, with variables; default 0.",
    ),
];

/// The least size of a zone, bytes: eight pages.
const LEAST_ZONE: u64 = 8 * 4096;

/// `zone=NAME:SIZE`
fn zone(text: &str, value: &str) -> Result<(String, usize), String> {
    let invalid = || format!("invalid zone size \"{text}\"; a zone is written zone=NAME:SIZE");
    let (name, size) = value.split_once(':').ok_or_else(invalid)?;
    let size = units::bytes(size).ok_or_else(invalid)?;
    if name.is_empty() {
        return Err(invalid());
    }
    if size < LEAST_ZONE {
        return Err(format!("zone \"{text}\" is too small; it is 32k at least"));
    }
    Ok((name.to_owned(), usize::try_from(size).map_err(|_| invalid())?))
}

/// `10r/s` or `10r/m`; without a unit it is a second's.
fn rate(text: &str, value: &str) -> Result<(u32, u32), String> {
    let (digits, per_s) = match (value.strip_suffix("r/s"), value.strip_suffix("r/m")) {
        (Some(digits), _) => (digits, 1),
        (_, Some(digits)) => (digits, 60),
        (None, None) => (value, 1),
    };
    let rate = units::number(digits).and_then(|it| u32::try_from(it).ok()).filter(|it| *it > 0);
    let rate = rate.ok_or(format!("invalid rate \"{text}\"; a rate is written 10r/s or 10r/m"))?;
    Ok((rate, per_s))
}

fn req_zone(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let key = lower.text(node, node.arg(0));
    let (mut named, mut paced) = (None, (1, 1));
    for text in node.texts().skip(1) {
        let read = match text.split_once('=') {
            Some(("zone", value)) => zone(text, value).map(|it| named = Some(it)),
            Some(("rate", value)) => rate(text, value).map(|it| paced = it),
            _ => Err(format!("invalid parameter \"{text}\"")),
        };
        if let Err(message) = read {
            return lower.fault(node, message);
        }
    }
    let Some((name, size_bytes)) = named else { return no_zone(lower, node) };
    let Some(http) = scope.http() else { return };
    if let Some(known) = http.limit_req_zones.iter().find(|it| it.name == name) {
        return bound(lower, node, &name, &known.key);
    }
    let (at, (rate, per_s)) = (node.at.clone(), paced);
    http.limit_req_zones.push(LimitReqZone { at, name, key, size_bytes, rate, per_s });
}

fn conn_zone(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let key = lower.text(node, node.arg(0));
    let text = node.arg(1);
    let Some(value) = text.strip_prefix("zone=") else {
        return lower.fault(node, format!("invalid parameter \"{text}\""));
    };
    let (name, size_bytes) = match zone(text, value) {
        Ok(it) => it,
        Err(message) => return lower.fault(node, message),
    };
    let Some(http) = scope.http() else { return };
    if let Some(known) = http.limit_conn_zones.iter().find(|it| it.name == name) {
        return bound(lower, node, &name, &known.key);
    }
    let at = node.at.clone();
    http.limit_conn_zones.push(LimitConnZone { at, name, key, size_bytes });
}

fn no_zone(lower: &mut Lower<'_>, node: &Node) {
    lower.fault(node, format!("\"{}\" must have \"zone\" parameter", node.name));
}

fn bound(lower: &mut Lower<'_>, node: &Node, name: &str, key: &Text) {
    lower.fault(node, format!("{} \"{name}\" is already bound to key \"{key}\"", node.name));
}

fn req(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let (mut zone, mut burst, mut delay) = (None, 0, Some(0));
    let count = |value: &str| {
        units::number(value).and_then(|it| u32::try_from(it).ok()).filter(|it| *it > 0)
    };
    for text in node.texts() {
        let read = match text.split_once('=') {
            Some(("zone", name)) => {
                zone = Some(name.to_owned());
                Ok(())
            }
            Some(("burst", value)) => count(value).map(|it| burst = it).ok_or("burst value"),
            Some(("delay", value)) => count(value).map(|it| delay = Some(it)).ok_or("delay value"),
            None if text == "nodelay" => {
                delay = None;
                Ok(())
            }
            _ => Err("parameter"),
        };
        if let Err(what) = read {
            return lower.fault(node, format!("invalid {what} \"{text}\""));
        }
    }
    let Some(zone) = zone else { return no_zone(lower, node) };
    let Some(settings) = scope.settings() else { return };
    let lines = settings.limit_req.get_or_insert_with(Vec::new);
    if lines.iter().any(|it| it.zone == zone) {
        return lower.duplicate(node);
    }
    lines.push(LimitReq { at: node.at.clone(), zone, burst, delay });
}

fn conn(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let (zone, text) = (node.arg(0).to_owned(), node.arg(1));
    let connections = match units::number(text) {
        None | Some(0) => {
            return lower.fault(node, format!("invalid number of connections \"{text}\""));
        }
        Some(count) => match u16::try_from(count) {
            Ok(count) => count,
            Err(_) => return lower.fault(node, "connection limit must be less 65536"),
        },
    };
    let Some(settings) = scope.settings() else { return };
    let lines = settings.limit_conn.get_or_insert_with(Vec::new);
    if lines.iter().any(|it| it.zone == zone) {
        return lower.duplicate(node);
    }
    lines.push(LimitConn { at: node.at.clone(), zone, connections });
}

fn status(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let (name, text) = (&node.name, node.arg(0));
    let value = match units::number(text) {
        None => {
            let message = format!("\"{name}\" directive invalid number; \"{text}\" is none");
            return lower.fault(node, message);
        }
        Some(number) => u16::try_from(number).ok().filter(|it| (400..=599).contains(it)),
    };
    if value.is_none() {
        return lower.fault(node, "value must be between 400 and 599");
    }
    let slot = scope.settings().map(|it| match node.name.as_str() {
        "limit_req_status" => &mut it.limit_req_status,
        _ => &mut it.limit_conn_status,
    });
    lower.once(node, slot, value);
}

fn level(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    // As numbers of `error_log`.
    const LEVELS: [(&str, u8); 4] = [("info", 7), ("notice", 6), ("warn", 5), ("error", 4)];
    let Some((_, level)) = LEVELS.iter().find(|(name, _)| *name == node.arg(0)) else {
        let help = "it is info, notice, warn or error";
        return lower.fault(node, format!("invalid value \"{}\"; {help}", node.arg(0)));
    };
    let slot = scope.settings().map(|it| match node.name.as_str() {
        "limit_req_log_level" => &mut it.limit_req_log_level,
        _ => &mut it.limit_conn_log_level,
    });
    lower.once(node, slot, Some(*level));
}

/// A size, known now or when a request asks for it.
fn size(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let (name, text) = (&node.name, node.arg(0));
    if !text.contains('$') && units::bytes(text).is_none() {
        let help = "a size such as 512, 8k, 1m or 1g";
        let message = format!("\"{name}\" directive invalid value; \"{text}\" is not {help}");
        return lower.fault(node, message);
    }
    let value = lower.text(node, text);
    let slot = scope.settings().map(|it| match node.name.as_str() {
        "limit_rate" => &mut it.limit_rate,
        _ => &mut it.limit_rate_after,
    });
    lower.once(node, slot, Some(value));
}
