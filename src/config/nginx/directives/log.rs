//! `error_log`, `access_log`, `log_format`.

use crate::config::model::{
    AccessLog, AccessLogTarget, ErrorLog, ErrorLogTarget, LogFormat, LogFormatEscape,
};
use crate::config::nginx::directive::{Arity, Directive, HSL, HSLI, HTTP, MAIN, Scope, custom};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use crate::config::units;

pub(super) const TABLE: &[Directive] = &[
    custom(
        "error_log",
        MAIN | HSL,
        Arity::AtLeast(1),
        error_log,
        "`FILE|stderr|syslog:… [LEVEL]`; default level `error`.",
    ),
    custom(
        "access_log",
        HSLI,
        Arity::AtLeast(1),
        access_log,
        "`off`, or `FILE [FORMAT [buffer=SIZE] [flush=TIME] [if=CONDITION]]`.",
    ),
    custom(
        "log_format",
        HTTP,
        Arity::AtLeast(2),
        log_format,
        "`NAME [escape=default|json|none] TEXT…`; `combined` and `moongate_json` are predefined.",
    ),
];

const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"];

fn error_log(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let target = match node.arg(0) {
        "stderr" => ErrorLogTarget::Stderr,
        text => match text.strip_prefix("syslog:") {
            Some(rest) => ErrorLogTarget::Syslog(rest.to_owned()),
            None if text.starts_with("memory:") => {
                return lower.unsupported(node, "\"memory:\" is not a target here");
            }
            None => ErrorLogTarget::File(text.into()),
        },
    };
    let mut level = None;
    for text in node.texts().skip(1) {
        let number = match LEVELS.iter().position(|it| *it == text) {
            Some(found) => found + 1,
            None if text.starts_with("debug_") => 8,
            None => {
                let help = LEVELS.join(", ");
                return lower
                    .fault(node, format!("invalid log level \"{text}\"; it is one of {help}"));
            }
        };
        if level.is_some() {
            return lower.fault(node, format!("duplicate log level \"{text}\""));
        }
        level = u8::try_from(number).ok();
    }
    let log = ErrorLog { at: node.at.clone(), target, level: level.unwrap_or(4) };
    let slot = match scope {
        Scope::Main(model) => Some(&mut model.main.error_log),
        _ => scope.settings().map(|it| &mut it.error_log),
    };
    if let Some(slot) = slot {
        slot.get_or_insert_with(Vec::new).push(log);
    }
}

fn access_log(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some(settings) = scope.settings() else { return };
    if node.arg(0) == "off" {
        if node.args.len() > 1 {
            return lower.fault(node, format!("invalid parameter \"{}\"", node.arg(1)));
        }
        settings.access_log = Some(Vec::new());
        return;
    }
    let target = match node.arg(0).strip_prefix("syslog:") {
        Some(rest) => AccessLogTarget::Syslog(rest.to_owned()),
        None if node.arg(0).is_empty() => return lower.fault(node, "the log's file has no name"),
        None if node.arg(0).contains('$') => {
            return lower.fault(
                node,
                "variables in the path of \"access_log\" are not supported by this version of \
                 Moongate",
            );
        }
        None => AccessLogTarget::File(node.arg(0).into()),
    };
    let format = node.args.get(1).map_or("combined", |it| it.text.as_str()).to_owned();
    let mut log = AccessLog {
        at: node.at.clone(),
        target,
        format,
        buffer_bytes: None,
        flush_ms: None,
        condition: None,
    };
    for text in node.texts().skip(2) {
        match text.split_once('=') {
            Some(("buffer", size)) => {
                let bytes = units::bytes(size).and_then(|it| usize::try_from(it).ok());
                let Some(bytes) = bytes.filter(|it| *it > 0) else {
                    return lower.fault(node, format!("invalid buffer size \"{size}\""));
                };
                log.buffer_bytes = Some(bytes);
            }
            Some(("flush", time)) => match units::millis(time).filter(|it| *it > 0) {
                Some(time) => log.flush_ms = Some(time),
                None => return lower.fault(node, format!("invalid flush time \"{time}\"")),
            },
            Some(("if", condition)) => log.condition = Some(lower.text(node, condition)),
            _ if text == "gzip" || text.starts_with("gzip=") => {
                return lower.fault(
                    node,
                    "\"gzip\" of \"access_log\" is not supported by this version of Moongate",
                );
            }
            _ => return lower.fault(node, format!("invalid parameter \"{text}\"")),
        }
    }
    if log.flush_ms.is_some() && log.buffer_bytes.is_none() {
        let message = format!("no buffer is defined for access_log \"{}\"", node.arg(0));
        return lower.fault(node, message);
    }
    settings.access_log.get_or_insert_with(Vec::new).push(log);
}

fn log_format(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let mut texts = node.texts().skip(1).peekable();
    let escape = match texts.peek().and_then(|it| it.strip_prefix("escape=")) {
        None => LogFormatEscape::Default,
        Some(word) => {
            texts.next();
            match word {
                "default" => LogFormatEscape::Default,
                "json" => LogFormatEscape::Json,
                "none" => LogFormatEscape::None,
                _ => {
                    return lower.fault(
                        node,
                        format!(
                            "unknown log format escaping \"{word}\"; it is default, json or none"
                        ),
                    );
                }
            }
        }
    };
    let joined: String = texts.collect();
    let text = lower.text(node, &joined);
    let format = LogFormat { at: node.at.clone(), name: node.arg(0).to_owned(), escape, text };
    if let Some(http) = scope.http() {
        http.log_formats.push(format);
    }
}
