//! echo-nginx-module's directives.

use super::location::replace_content;
use crate::config::model::{EchoCommand, EchoLine, EchoVerb, Handler};
use crate::config::nginx::directive::{
    Arity, Contexts, Directive, LOCATION, LOCATION_IF, ONE, Scope, custom, unsupported,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use crate::config::units;

const CONTENT: Contexts = LOCATION | LOCATION_IF;
const ANY: Arity = Arity::AtLeast(0);
const NONE: Arity = Arity::Exactly(0);
const URI: Arity = Arity::Between(1, 2);

pub(super) const TABLE: &[Directive] = &[
    custom("echo", CONTENT, ANY, command, "Answers with a line: `[-n] [--] TEXT…`."),
    custom(
        "echo_duplicate",
        CONTENT,
        Arity::AtLeast(2),
        command,
        "Answers with a text many times: `COUNT TEXT`.",
    ),
    custom("echo_flush", CONTENT, NONE, command, "Sends what was said so far."),
    custom("echo_sleep", CONTENT, ONE, command, "Waits so many seconds."),
    custom(
        "echo_blocking_sleep",
        CONTENT,
        ONE,
        command,
        "The same as `echo_sleep`; no worker is blocked.",
    ),
    custom("echo_reset_timer", CONTENT, NONE, command, "Starts `$echo_timer_elapsed` anew."),
    custom("echo_read_request_body", CONTENT, NONE, command, "Reads the request's body."),
    custom("echo_request_body", CONTENT, NONE, command, "Answers with the body that was read."),
    custom(
        "echo_foreach_split",
        CONTENT,
        Arity::AtLeast(2),
        command,
        "Up to `echo_end` for each part of a text, `$echo_it`: `DELIMITER TEXT`.",
    ),
    custom("echo_end", CONTENT, NONE, command, "Ends `echo_foreach_split`."),
    custom(
        "echo_location",
        CONTENT,
        URI,
        command,
        "Answers with what another location answers: `URI [ARGUMENTS]`.",
    ),
    custom(
        "echo_location_async",
        CONTENT,
        URI,
        command,
        "The same, and goes on before that is there.",
    ),
    custom(
        "echo_subrequest",
        CONTENT,
        Arity::AtLeast(2),
        subrequest,
        "Answers with what another location answers: `METHOD URI [-q ARGUMENTS] [-b BODY] \
         [-f FILE]`.",
    ),
    custom(
        "echo_subrequest_async",
        CONTENT,
        Arity::AtLeast(2),
        subrequest,
        "The same, and goes on before that is there.",
    ),
    custom(
        "echo_exec",
        CONTENT,
        URI,
        command,
        "Goes on at another URI or `@NAME`: `URI [ARGUMENTS]`.",
    ),
    custom("echo_before_body", CONTENT, ANY, line, "A line before the body, whatever answers."),
    custom("echo_after_body", CONTENT, ANY, line, "A line behind the body, whatever answers."),
    custom("echo_status", CONTENT, ONE, status, "The status of what `echo` says; default 200."),
    unsupported("echo_abort_parent", "use ngx.location.capture in content_by_lua_block"),
];

fn verb(name: &str) -> EchoVerb {
    match name {
        "echo_duplicate" => EchoVerb::EchoDuplicate,
        "echo_flush" => EchoVerb::EchoFlush,
        "echo_sleep" => EchoVerb::EchoSleep,
        "echo_blocking_sleep" => EchoVerb::EchoBlockingSleep,
        "echo_reset_timer" => EchoVerb::EchoResetTimer,
        "echo_read_request_body" => EchoVerb::EchoReadRequestBody,
        "echo_request_body" => EchoVerb::EchoRequestBody,
        "echo_foreach_split" => EchoVerb::EchoForeachSplit,
        "echo_end" => EchoVerb::EchoEnd,
        "echo_exec" => EchoVerb::EchoExec,
        "echo_location" => EchoVerb::EchoLocation,
        "echo_location_async" => EchoVerb::EchoLocationAsync,
        "echo_subrequest" => EchoVerb::EchoSubrequest,
        "echo_subrequest_async" => EchoVerb::EchoSubrequestAsync,
        _ => EchoVerb::Echo,
    }
}

fn texts(lower: &mut Lower<'_>, node: &Node) -> Vec<String> {
    node.texts().map(|it| lower.text(node, it)).collect()
}

fn command(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let args = texts(lower, node);
    let command = EchoCommand { at: node.at.clone(), verb: verb(&node.name), args };
    let handler = match scope {
        Scope::Location(it) => &mut it.handler,
        Scope::LocationIf(it) => &mut it.handler,
        _ => return,
    };
    if let Some(Handler::Echo(commands)) = handler {
        // The first one was the handler; those that follow it are its own.
        return commands.push(command);
    }
    replace_content(lower, scope, node);
    match scope {
        Scope::Location(it) => it.handler = Some(Handler::Echo(vec![command])),
        Scope::LocationIf(it) => it.handler = Some(Handler::Echo(vec![command])),
        _ => {}
    }
}

/// The options behind the URI come in pairs.
fn subrequest(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let mut words = node.texts().skip(2);
    while let Some(option) = words.next() {
        if !matches!(option, "-q" | "-b" | "-f") || words.next().is_none() {
            let help = "the options are -q ARGUMENTS, -b BODY and -f FILE";
            let message = format!("unknown option for echo_subrequest*: {option}; {help}");
            return lower.fault(node, message);
        }
    }
    command(lower, scope, node);
}

fn line(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let line = EchoLine { at: node.at.clone(), args: texts(lower, node) };
    let Some(settings) = scope.settings() else { return };
    let lines = match node.name.as_str() {
        "echo_before_body" => &mut settings.echo_before_body,
        _ => &mut settings.echo_after_body,
    };
    lines.get_or_insert_with(Vec::new).push(line);
}

fn status(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let value = units::number(node.arg(0)).and_then(|it| u16::try_from(it).ok());
    let Some(value) = value.filter(|it| (200..=599).contains(it)) else {
        let help = "it is a status from 200 to 599";
        return lower.fault(node, format!("invalid number \"{}\"; {help}", node.arg(0)));
    };
    lower.once(node, scope.settings().map(|it| &mut it.echo_status), Some(value));
}
