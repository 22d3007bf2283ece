//! headers-more-nginx-module's directives.

use crate::config::model::{MoreHeader, MoreHeaders};
use crate::config::nginx::directive::{Arity, Directive, HSLI, Scope, custom};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;

const SOME: Arity = Arity::AtLeast(1);

pub(super) const TABLE: &[Directive] = &[
    custom(
        "more_set_headers",
        HSLI,
        SOME,
        more_headers,
        "Sets response headers: `[-s STATUSES] [-t TYPES] [-a] 'NAME: VALUE'…`.",
    ),
    custom(
        "more_clear_headers",
        HSLI,
        SOME,
        more_headers,
        "Removes response headers: `[-s STATUSES] [-t TYPES] NAME…`; `NAME*` for a family.",
    ),
    custom(
        "more_set_input_headers",
        HSLI,
        SOME,
        more_headers,
        "Sets request headers: `[-r] [-t TYPES] 'NAME: VALUE'…`.",
    ),
    custom(
        "more_clear_input_headers",
        HSLI,
        SOME,
        more_headers,
        "Removes request headers: `[-t TYPES] NAME…`; `NAME*` for a family.",
    ),
];

/// Fields that are no list, so that `-a` is refused for them.
const BUILTIN: [&str; 14] = [
    "Server",
    "Date",
    "Content-Encoding",
    "Location",
    "Refresh",
    "Last-Modified",
    "Content-Range",
    "Accept-Ranges",
    "WWW-Authenticate",
    "Expires",
    "E-Tag",
    "Content-Length",
    "Content-Type",
    "Cache-Control",
];

fn more_headers(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let line = match parse(lower, node) {
        Ok(line) => line,
        Err(message) => return lower.fault(node, format!("{}: {message}", node.name)),
    };
    let Some(settings) = scope.settings() else { return };
    let lines = match node.name.ends_with("_input_headers") {
        true => &mut settings.more_input_headers,
        false => &mut settings.more_headers,
    };
    lines.get_or_insert_with(Vec::new).push(line);
}

fn parse(lower: &mut Lower<'_>, node: &Node) -> Result<MoreHeaders, String> {
    let is_input = node.name.ends_with("_input_headers");
    let clears = node.name.starts_with("more_clear");
    let mut line = MoreHeaders { at: node.at.clone(), ..MoreHeaders::default() };
    let mut words = node.texts();
    while let Some(word) = words.next() {
        let mut argument = || words.next().ok_or(format!("option {word} takes an argument."));
        match word {
            "" => {}
            "-t" => {
                let types = argument()?.split(|c: char| c.is_ascii_whitespace() || c == ';');
                line.types.extend(types.filter(|it| !it.is_empty()).map(str::to_owned));
            }
            "-s" if !is_input => line.statuses.extend(statuses(argument()?)?),
            "-a" if !is_input && !clears => line.append = true,
            "-r" if is_input && !clears => line.replace = true,
            _ if word.starts_with('-') => return Err(format!("invalid option name: \"{word}\"")),
            _ => {
                let mut header = header(word)?;
                header.value = match clears {
                    true => String::new(),
                    false => lower.text(node, &header.value),
                };
                line.headers.push(header);
            }
        }
    }
    let is_builtin =
        |it: &&MoreHeader| BUILTIN.iter().any(|name| name.eq_ignore_ascii_case(&it.name));
    match line.headers.iter().find(is_builtin) {
        Some(it) if line.append => Err(format!("can not append builtin headers \"{}\"", it.name)),
        _ => Ok(line),
    }
}

fn statuses(text: &str) -> Result<Vec<u16>, String> {
    let parse = |word: &str| {
        word.parse().map_err(|_| {
            let odd = word.chars().find(|c| !c.is_ascii_digit()).unwrap_or('9');
            format!("invalid digit \"{odd}\" found in the status code list \"{text}\"")
        })
    };
    text.split_ascii_whitespace().map(parse).collect()
}

/// `NAME: VALUE`, `NAME:` or `NAME`: colons and white space part them.
fn header(text: &str) -> Result<MoreHeader, String> {
    let parts = |c: char| c == ':' || c.is_ascii_whitespace();
    let trimmed = text.trim_ascii_start();
    let (name, rest) = trimmed.split_at(trimmed.find(parts).unwrap_or(trimmed.len()));
    if name.is_empty() {
        return Err(format!("no key found in the header argument: {text}"));
    }
    if name == "*" {
        return Err(format!("wildcard key too short: {text}"));
    }
    Ok(MoreHeader { name: name.to_owned(), value: rest.trim_start_matches(parts).to_owned() })
}
