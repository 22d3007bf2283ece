//! What is added to answers on their way out, and small answers of their own.

use crate::config::model::{AddHeader, Expires, Handler, Lifetime};
use crate::config::nginx::directive::{
    Apply, Arity, Directive, HSL, HSLI, LOCATION, ONE, SERVER, Scope, custom, flag, setting,
};
use crate::config::nginx::directives::location::replace_content;
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;

pub(super) const TABLE: &[Directive] = &[
    custom(
        "add_header",
        HSLI,
        Arity::Between(2, 3),
        add,
        "Adds a response header: `NAME VALUE [always]`.",
    ),
    custom(
        "add_trailer",
        HSLI,
        Arity::Between(2, 3),
        add,
        "Adds a field behind the body, which goes in chunks then: `NAME VALUE [always]`.",
    ),
    custom(
        "expires",
        HSLI,
        Arity::Between(1, 2),
        expires,
        "`Expires` and `Cache-Control`: `[modified] TIME`, `@TIME` of the day, `epoch`, `max` or \
         `off`.",
    ),
    Directive::new(
        "charset",
        HSLI,
        ONE,
        Apply::Text(setting!(charset)),
        "The charset told in `Content-Type` where it has none: a name, a variable or `off`.",
    ),
    custom(
        "charset_types",
        HSL,
        Arity::AtLeast(1),
        charset_types,
        "The types that get it beside `text/html`, `*` for all; default `text/xml text/plain \
         text/vnd.wap.wml application/javascript application/rss+xml`.",
    ),
    flag(
        "chunked_transfer_encoding",
        HSL,
        setting!(chunked_transfer_encoding),
        "Bodies of unknown length go in chunks, else they end with the connection; default on.",
    ),
    custom("empty_gif", LOCATION, Arity::Exactly(0), small, "Answers with a GIF of one pixel."),
    custom(
        "stub_status",
        SERVER | LOCATION,
        Arity::Between(0, 1),
        small,
        "Answers with counts of connections and requests. `Reading` is 0: who sends a head waits.",
    ),
];

fn add(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let always = node.arg(2) == "always";
    if node.args.len() == 3 && !always {
        let help = "only \"always\" may follow the value";
        return lower.fault(node, format!("invalid parameter \"{}\"; {help}", node.arg(2)));
    }
    let value = lower.text(node, node.arg(1));
    let line = AddHeader { at: node.at.clone(), name: node.arg(0).to_owned(), value, always };
    if let Some(settings) = scope.settings() {
        let lines = match node.name.as_str() {
            "add_header" => &mut settings.add_header,
            _ => &mut settings.add_trailer,
        };
        lines.get_or_insert_with(Vec::new).push(line);
    }
}

fn expires(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let modified = node.args.len() == 2;
    if modified && node.arg(0) != "modified" {
        let help = "only \"modified\" may stand before the time";
        return lower.fault(node, format!("invalid value \"{}\"; {help}", node.arg(0)));
    }
    let text = node.arg(usize::from(modified));
    let value = lower.text(node, text);
    if !text.contains('$')
        && let Err(message) = Lifetime::parse(text, modified)
    {
        return lower.fault(node, format!("\"expires\" directive {message}: \"{text}\""));
    }
    let expires = Expires { at: node.at.clone(), modified, value };
    lower.once(node, scope.settings().map(|it| &mut it.expires), Some(expires));
}

fn charset_types(_: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    if let Some(settings) = scope.settings() {
        let types = settings.charset_types.get_or_insert_with(Vec::new);
        types.extend(node.texts().map(str::to_owned));
    }
}

fn small(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    replace_content(lower, scope, node);
    let handler = match node.name.as_str() {
        "empty_gif" => Handler::EmptyGif,
        _ => Handler::StubStatus,
    };
    match scope {
        Scope::Location(it) => it.handler = Some(handler),
        Scope::Server(it) => it.handler = Some(handler),
        _ => {}
    }
}
