//! `location` and what only a location may have.

use crate::config::model::{ErrorPage, Location, LocationMatch, Settings};
use crate::config::nginx::directive::{Arity, Directive, HSLI, LOCATION, SERVER, Scope, custom};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use crate::config::units;

pub(super) const TABLE: &[Directive] = &[
    custom(
        "location",
        SERVER | LOCATION,
        Arity::Between(1, 2),
        location,
        "What is done for some URIs: `[= | ^~ | ~ | ~*] URI`, or `@NAME`.",
    )
    .block(),
    custom("internal", LOCATION, Arity::Exactly(0), internal, "For internal redirects only."),
    custom("metrics", LOCATION, Arity::Exactly(0), metrics, "Answers with Prometheus's text.")
        .ours(),
    custom(
        "error_page",
        HSLI,
        Arity::AtLeast(2),
        error_page,
        "What is shown instead of an error: `CODE… [=[RESPONSE]] URI`.",
    ),
];

fn location(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some(matches) = parse_match(lower, node) else { return };
    let mut location = Location {
        at: node.at.clone(),
        matches,
        settings: Settings::default(),
        internal: false,
        rewrite: Vec::new(),
        proxy_pass: None,
        content: None,
        handler: None,
        metrics: false,
        locations: Vec::new(),
        try_files: None,
    };
    lower.block(node.children(), &mut Scope::Location(&mut location));
    match scope {
        Scope::Server(server) => server.locations.push(location),
        Scope::Location(outer) => outer.locations.push(location),
        _ => {}
    }
}

/// `= /a`, `=/a`, `~*\.php$`, `@a`, `/a` (`ngx_http_core_location`).
fn parse_match(lower: &mut Lower<'_>, node: &Node) -> Option<LocationMatch> {
    let first = node.arg(0);
    let (modifier, text) = match node.args.get(1) {
        Some(second) => (first, second.text.as_str()),
        None => {
            let found = ["^~", "~*", "=", "~"].iter().find(|it| first.starts_with(**it));
            found.map_or(("", first), |it| first.split_at(it.len()))
        }
    };
    let text = text.to_owned();
    Some(match modifier {
        "=" => LocationMatch::Exact(text),
        "^~" => LocationMatch::PrefixNoRegex(text),
        "~" => LocationMatch::Regex(text),
        "~*" => LocationMatch::RegexCaseless(text),
        "" => match text.strip_prefix('@') {
            Some(name) => LocationMatch::Named(name.to_owned()),
            None => LocationMatch::Prefix(text),
        },
        other => {
            let help = "it is one of = ^~ ~ ~*";
            lower.fault(node, format!("invalid location modifier \"{other}\"; {help}"));
            return None;
        }
    })
}

fn internal(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some(location) = scope.location() else { return };
    if location.internal {
        return lower.duplicate(node);
    }
    location.internal = true;
}

fn metrics(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some(location) = scope.location() else { return };
    if location.metrics {
        return lower.duplicate(node);
    }
    location.metrics = true;
    replace_content(lower, scope, node);
}

/// A location has one content handler; as in nginx, the one written last is it.
pub(super) fn replace_content(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let name = node.name.as_str();
    let mut lost = Vec::new();
    let (proxy_pass, content, handler) = match scope {
        Scope::Location(it) => {
            if name != "metrics" && std::mem::take(&mut it.metrics) {
                lost.push("metrics".to_owned());
            }
            (&mut it.proxy_pass, &mut it.content, &mut it.handler)
        }
        Scope::LocationIf(it) => (&mut it.proxy_pass, &mut it.content, &mut it.handler),
        _ => return,
    };
    if let Some(handler) = handler.take() {
        lost.push(handler.directive().to_owned());
    }
    if name != "proxy_pass"
        && let Some(pass) = proxy_pass.take()
    {
        lost.push(pass.directive().to_owned());
    }
    if !name.starts_with("content_by_lua")
        && let Some(chunk) = content.take()
    {
        lost.push(chunk.directive);
    }
    for lost in lost {
        let message =
            format!("\"{name}\" answers here; \"{lost}\", written before it, has no effect");
        lower.warning(node, message);
    }
}

fn error_page(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let texts: Vec<&str> = node.texts().collect();
    let [statuses @ .., uri] = texts.as_slice() else { return };
    let (response, statuses) = match statuses.split_last() {
        Some((last, rest)) if last.starts_with('=') => {
            let code = &last[1..];
            if code.is_empty() {
                (Some(None), rest)
            } else {
                match units::number(code).and_then(|it| u16::try_from(it).ok()) {
                    Some(code) => (Some(Some(code)), rest),
                    None => return lower.fault(node, format!("invalid value \"{last}\"")),
                }
            }
        }
        _ => (None, statuses),
    };
    if statuses.is_empty() {
        let help = "a status must be written before \"=\"";
        return lower.fault(
            node,
            format!("invalid number of arguments in \"error_page\" directive; {help}"),
        );
    }
    let mut page = ErrorPage {
        at: node.at.clone(),
        statuses: Vec::new(),
        response,
        uri: lower.text(node, uri),
    };
    for text in statuses {
        let Some(status) = units::number(text).and_then(|it| u16::try_from(it).ok()) else {
            return lower.fault(node, format!("invalid value \"{text}\""));
        };
        if status == 499 {
            return lower
                .fault(node, format!("invalid value \"{text}\"; nobody is left to read it"));
        }
        if !(300..=599).contains(&status) {
            return lower.fault(node, format!("value \"{text}\" must be between 300 and 599"));
        }
        page.statuses.push(status);
    }
    if let Some(settings) = scope.settings() {
        settings.error_page.get_or_insert_with(Vec::new).push(page);
    }
}
