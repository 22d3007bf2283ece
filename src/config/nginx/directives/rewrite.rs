//! The rewrite module: `set`, `if`, `rewrite`, `return`, `break`.

use crate::config::model::{Condition, IfBlock, Return, Rewrite, RewriteFlag, RewriteOp, Settings};
use crate::config::nginx::directive::{
    Arity, Directive, HSLI, LOCATION, REWRITE, SERVER, SERVER_IF, Scope, custom, flag, setting,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use crate::config::units;

pub(super) const TABLE: &[Directive] = &[
    custom("set", REWRITE, Arity::Exactly(2), set, "Sets a variable: `$NAME VALUE`."),
    custom(
        "if",
        SERVER | LOCATION,
        Arity::AtLeast(1),
        if_block,
        "What holds under a condition: `($x)`, or with `=`, `!=`, `~`, `~*`, `!~`, `!~*`, \
         `-f`, `-d`, `-e`, `-x`.",
    )
    .block(),
    custom(
        "rewrite",
        REWRITE,
        Arity::Between(2, 3),
        rewrite,
        "Changes the URI: `REGEX REPLACEMENT [last|break|redirect|permanent]`.",
    ),
    custom(
        "return",
        REWRITE,
        Arity::Between(1, 2),
        return_,
        "Answers: `CODE [TEXT|URL]` or `URL`.",
    ),
    custom("break", REWRITE, Arity::Exactly(0), break_, "Ends the rewrite directives here."),
    flag(
        "rewrite_log",
        HSLI | SERVER_IF,
        setting!(rewrite_log),
        "Logs rewrites at notice; default off.",
    ),
    flag(
        "uninitialized_variable_warn",
        HSLI | SERVER_IF,
        setting!(uninitialized_variable_warn),
        "Warns of variables that were never set; default on.",
    ),
];

fn push(scope: &mut Scope<'_>, op: RewriteOp) {
    if let Some(rewrite) = scope.rewrite() {
        rewrite.push(op);
    }
}

fn set(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let variable = lower.variable(node, node.arg(0));
    let value = lower.text(node, node.arg(1));
    push(scope, RewriteOp::Set { at: node.at.clone(), variable, value });
}

fn break_(_: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    push(scope, RewriteOp::Break { at: node.at.clone() });
}

fn rewrite(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let flag = match node.args.get(2).map(|it| it.text.as_str()) {
        None => None,
        Some("last") => Some(RewriteFlag::Last),
        Some("break") => Some(RewriteFlag::Break),
        Some("redirect") => Some(RewriteFlag::Redirect),
        Some("permanent") => Some(RewriteFlag::Permanent),
        Some(text) => {
            let help = "it must be \"last\", \"break\", \"redirect\" or \"permanent\"";
            return lower.fault(node, format!("invalid parameter \"{text}\"; {help}"));
        }
    };
    if node.arg(1).is_empty() {
        return lower.fault(node, "empty replacement");
    }
    let replacement = lower.text(node, node.arg(1));
    let regex = node.arg(0).to_owned();
    push(scope, RewriteOp::Rewrite(Rewrite { at: node.at.clone(), regex, replacement, flag }));
}

/// `ngx_http_rewrite_return`: a lone URL is a 302.
fn return_(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let first = node.arg(0);
    let is_url = ["http://", "https://", "$scheme"].iter().any(|it| first.starts_with(it));
    let (status, text) = match (units::number(first), node.args.get(1)) {
        (Some(status), text) if status <= 999 => (status, text.map(|it| it.text.as_str())),
        (None, None) if is_url => (302, Some(first)),
        _ => {
            let help = "write a status from 0 to 999, or a URL alone";
            return lower.fault(node, format!("invalid return code \"{first}\"; {help}"));
        }
    };
    let text = text.map(|it| lower.text(node, it));
    let status = u16::try_from(status).unwrap_or_default();
    push(scope, RewriteOp::Return(Return { at: node.at.clone(), status, text }));
}

fn if_block(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let condition = match parse_condition(node) {
        Ok(condition) => condition,
        Err(message) => return lower.fault(node, message),
    };
    if let Condition::Equals { text, .. } | Condition::File { path: text, .. } = &condition {
        lower.text(node, text);
    }
    let mut block = IfBlock {
        at: node.at.clone(),
        condition,
        settings: Settings::default(),
        rewrite: Vec::new(),
        proxy_pass: None,
        content: None,
        handler: None,
    };
    let mut inner = match scope {
        Scope::Server(_) => Scope::ServerIf(&mut block),
        _ => Scope::LocationIf(&mut block),
    };
    lower.block(node.children(), &mut inner);
    push(scope, RewriteOp::If(Box::new(block)));
}

/// The condition's words, the parentheses around them taken off (`ngx_http_rewrite_if_condition`).
fn parse_condition(node: &Node) -> Result<Condition, String> {
    let mut words: Vec<&str> = node.texts().collect();
    let first = words[0];
    let invalid = |text: &str| format!("invalid condition \"{text}\"");
    words[0] = first.strip_prefix('(').ok_or_else(|| invalid(first))?;
    let last = words.len() - 1;
    words[last] = words[last].strip_suffix(')').ok_or_else(|| invalid(words[last]))?;
    if words[last].is_empty() {
        words.pop();
    }
    if words.first().is_some_and(|it| it.is_empty()) {
        words.remove(0);
    }
    if words.is_empty() {
        return Err(invalid(node.arg(0)));
    }
    condition(&words)
}

/// The condition that `words` make.
pub(super) fn condition(words: &[&str]) -> Result<Condition, String> {
    let invalid = |text: &str| format!("invalid condition \"{text}\"");
    let Some(first) = words.first().copied() else { return Err(invalid("")) };
    if let Some(variable) = first.strip_prefix('$') {
        let variable = variable.to_owned();
        return match words[1..] {
            _ if variable.is_empty() => Err(invalid(first)),
            [] => Ok(Condition::True(variable)),
            [operator, text] => compare(variable, operator, text.to_owned()),
            _ => Err(format!("{}; write ($variable OPERATOR VALUE)", invalid(first))),
        };
    }
    let (negated, test) = match first.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, first),
    };
    match (test, &words[1..]) {
        ("-f" | "-d" | "-e" | "-x", [path]) => {
            let test = test.chars().nth(1).unwrap_or('f');
            Ok(Condition::File { test, path: (*path).to_owned(), negated })
        }
        _ => Err(format!("{}; it begins with a variable or -f, -d, -e, -x", invalid(first))),
    }
}

fn compare(variable: String, operator: &str, text: String) -> Result<Condition, String> {
    let matches = |caseless, negated| {
        Ok(Condition::Matches {
            variable: variable.clone(),
            regex: text.clone(),
            caseless,
            negated,
        })
    };
    match operator {
        "=" => Ok(Condition::Equals { variable, text, negated: false }),
        "!=" => Ok(Condition::Equals { variable, text, negated: true }),
        "~" => matches(false, false),
        "~*" => matches(true, false),
        "!~" => matches(false, true),
        "!~*" => matches(true, true),
        _ => Err(format!(
            "unexpected \"{operator}\" in condition; the operators are = != ~ ~* !~ !~*"
        )),
    }
}
