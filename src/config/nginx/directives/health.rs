//! `health_check` and `match`: how the health of peers is asked for.

use super::proxy::static_upstream;
use crate::config::model::{HealthCheck, HealthKind, HealthMatch, Http};
use crate::config::nginx::directive::{
    Arity, Directive, HTTP, LOCATION, MATCH, ONE, Scope, UPSTREAM, custom,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use crate::config::units;

pub(super) const TABLE: &[Directive] = &[
    custom(
        "health_check",
        UPSTREAM | LOCATION,
        Arity::AtLeast(0),
        health_check,
        "Asks peers how they are: `[uri=] [interval=] [jitter=] [timeout=] [fails=] [passes=] \
         [port=] [match=] [type=tcp|grpc [grpc_service=] [grpc_status=]] [mandatory] \
         [header \"NAME: VALUE\"]…`.",
    )
    .ours(),
    custom("match", HTTP, ONE, match_block, "What a good answer to a health check is.")
        .block()
        .ours(),
    custom("status", MATCH, Arity::AtLeast(1), status, "Statuses and ranges: `[!] 200 300-399`.")
        .ours(),
    custom(
        "header",
        MATCH,
        Arity::Between(1, 3),
        header,
        "`NAME`, `! NAME`, or `NAME =|!=|~|!~ VALUE`.",
    )
    .ours(),
    custom("body", MATCH, Arity::Exactly(2), body, "`~ REGEX` or `!~ REGEX`.").ours(),
];

/// Reads the `match` blocks of `http`, which checks before them may name.
pub(super) fn read_matches(lower: &mut Lower<'_>, nodes: &[Node]) {
    for node in nodes.iter().filter(|it| it.name == "match" && it.args.len() == 1) {
        if lower.matches.iter().any(|(name, _)| name == node.arg(0)) {
            lower.fault(node, format!("duplicate match \"{}\"", node.arg(0)));
            continue;
        }
        let mut expect = HealthMatch::default();
        lower.block(node.children(), &mut Scope::Match(&mut expect));
        lower.matches.push((node.arg(0).to_owned(), expect));
    }
}

/// Nothing: [`read_matches`] was there before.
fn match_block(_: &mut Lower<'_>, _: &mut Scope<'_>, _: &Node) {}

/// Gives the checks of locations to the upstreams that they probe.
pub(super) fn attach(lower: &mut Lower<'_>, http: &mut Http) {
    for (name, check) in std::mem::take(&mut lower.location_checks) {
        match http.upstreams.iter_mut().find(|it| it.name == name) {
            Some(upstream) => upstream.health_checks.push(check),
            None => lower.diagnostics.fault(
                &check.at,
                format!("\"health_check\" needs an upstream block; \"{name}\" is none"),
            ),
        }
    }
}

/// What the words of a line say, before it is known what kind of check they make.
struct Words {
    check: HealthCheck,
    uri: String,
    kind: &'static str,
    headers: Vec<(String, String)>,
    expect: HealthMatch,
    service: String,
    status: Option<u32>,
}

fn health_check(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let mut words = Words {
        check: HealthCheck {
            at: node.at.clone(),
            kind: HealthKind::Tcp,
            interval_ms: 5000,
            jitter_ms: 0,
            timeout_ms: 1000,
            fails: 1,
            passes: 1,
            port: None,
            mandatory: false,
        },
        uri: "/".to_owned(),
        kind: "http",
        headers: Vec::new(),
        expect: HealthMatch::default(),
        service: String::new(),
        status: None,
    };
    let mut texts = node.texts();
    while let Some(text) = texts.next() {
        let taken = match text {
            "header" => match texts.next() {
                Some(header) => header_line(&mut words, header),
                None => Err("\"header\" of \"health_check\" needs \"NAME: VALUE\"".to_owned()),
            },
            "mandatory" => {
                words.check.mandatory = true;
                Ok(())
            }
            _ => parameter(&mut words, &lower.matches, text),
        };
        if let Err(message) = taken {
            lower.fault(node, message);
        }
    }
    let check = HealthCheck {
        kind: match words.kind {
            "tcp" => HealthKind::Tcp,
            "grpc" => HealthKind::Grpc {
                service: words.service,
                status: words.status,
                headers: words.headers,
            },
            _ => HealthKind::Http { uri: words.uri, headers: words.headers, expect: words.expect },
        },
        ..words.check
    };
    match scope {
        Scope::Upstream(upstream) => upstream.health_checks.push(check),
        Scope::Location(location) => {
            let name = location.proxy_pass.as_ref().and_then(static_upstream);
            match name {
                Some(name) => lower.location_checks.push((name, check)),
                None => lower.fault(
                    node,
                    "\"health_check\" should be placed after a \"proxy_pass\" without variables, \
                     or in the upstream itself",
                ),
            }
        }
        _ => {}
    }
}

fn header_line(words: &mut Words, text: &str) -> Result<(), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| {
        format!("invalid header \"{text}\" of \"health_check\"; write \"NAME: VALUE\"")
    })?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) || value.contains(['\r', '\n', '\0']) {
        return Err(format!("invalid header \"{text}\" of \"health_check\""));
    }
    words.headers.push((name.to_owned(), value.trim().to_owned()));
    Ok(())
}

fn parameter(
    words: &mut Words,
    matches: &[(String, HealthMatch)],
    text: &str,
) -> Result<(), String> {
    let invalid = || format!("invalid parameter \"{text}\"");
    let time = |value| units::millis(value).ok_or_else(invalid);
    let number = |value| {
        let number = units::number(value).and_then(|it| u32::try_from(it).ok());
        number.ok_or_else(invalid)
    };
    let (name, value) = text.split_once('=').ok_or_else(invalid)?;
    match name {
        "uri" if value.starts_with('/') => words.uri = value.to_owned(),
        "interval" => words.check.interval_ms = time(value)?,
        "jitter" => words.check.jitter_ms = time(value)?,
        "timeout" => words.check.timeout_ms = time(value)?,
        "fails" => words.check.fails = number(value)?,
        "passes" => words.check.passes = number(value)?,
        "port" => {
            let port = u16::try_from(number(value)?).map_err(|_| invalid())?;
            words.check.port = Some(port);
        }
        "type" => {
            let kinds = ["http", "tcp", "grpc"];
            words.kind = kinds.into_iter().find(|it| *it == value).ok_or_else(invalid)?;
        }
        "grpc_service" => words.service = value.to_owned(),
        "grpc_status" => words.status = Some(number(value)?),
        "header" => return header_line(words, value),
        "mandatory" if value == "on" => words.check.mandatory = true,
        "match" => {
            let found = matches.iter().find(|(name, _)| name == value);
            let found = found.ok_or_else(|| format!("unknown match \"{value}\""))?;
            words.expect = found.1.clone();
        }
        _ => return Err(invalid()),
    }
    let check = &words.check;
    if check.interval_ms == 0 || check.timeout_ms == 0 || check.fails == 0 || check.passes == 0 {
        return Err(format!("{}; it must be more than 0", invalid()));
    }
    if check.port == Some(0) {
        return Err(invalid());
    }
    Ok(())
}

fn status(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Scope::Match(expect) = scope else { return };
    if !expect.statuses.is_empty() {
        return lower.duplicate(node);
    }
    let code = |text: &str| {
        let code = units::number(text).and_then(|it| u16::try_from(it).ok());
        code.filter(|it| (100..=999).contains(it))
    };
    for (index, text) in node.texts().enumerate() {
        if text == "!" && index == 0 {
            expect.statuses_negated = true;
            continue;
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (code(first), code(last)) {
            (Some(first), Some(last)) if first <= last => expect.statuses.push((first, last)),
            _ => {
                let message = format!("invalid status \"{text}\"; write 200 or 200-399");
                return lower.fault(node, message);
            }
        }
    }
    if expect.statuses.is_empty() {
        lower.fault(node, "no status is behind \"!\"");
    }
}

fn header(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Scope::Match(expect) = scope else { return };
    let words: Vec<&str> = node.texts().collect();
    let (name, operator, value) = match words.as_slice() {
        ["!", name] => (*name, "!", ""),
        [name] => (*name, "", ""),
        [name, operator @ ("=" | "!=" | "~" | "!~"), value] => (*name, *operator, *value),
        _ => {
            let help = "write NAME, ! NAME, or NAME with = != ~ !~ and a value";
            return lower.fault(node, format!("invalid \"header\" of a match; {help}"));
        }
    };
    expect.headers.push((name.to_owned(), operator.to_owned(), value.to_owned()));
}

fn body(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Scope::Match(expect) = scope else { return };
    let negated = match node.arg(0) {
        "~" => false,
        "!~" => true,
        other => {
            let message = format!("invalid operator \"{other}\"; it must be \"~\" or \"!~\"");
            return lower.fault(node, message);
        }
    };
    lower.once(node, Some(&mut expect.body), Some((negated, node.arg(1).to_owned())));
}
