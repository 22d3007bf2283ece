//! set-misc-nginx-module's directives.

use crate::config::model::RewriteOp;
use crate::config::nginx::directive::{
    Arity, Contexts, Directive, HSLI, HTTP, REWRITE, SERVER_IF, Scope, custom, flag, setting,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;

const ANY_LEVEL: Contexts = HSLI | SERVER_IF;

pub(super) const TABLE: &[Directive] = &[
    custom(
        "set_escape_uri",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [TEXT]`: the text escaped as in a URI.",
    ),
    custom(
        "set_unescape_uri",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [TEXT]`: the text without such escapes.",
    ),
    custom(
        "set_quote_sql_str",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [TEXT]`: quoted for MySQL.",
    ),
    custom(
        "set_quote_pgsql_str",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [TEXT]`: quoted for PostgreSQL.",
    ),
    custom(
        "set_quote_json_str",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [TEXT]`: as a string of JSON.",
    ),
    custom(
        "set_md5",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [TEXT]`: its MD5 in hexadecimal.",
    ),
    custom(
        "set_sha1",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [TEXT]`: its SHA-1 in hexadecimal.",
    ),
    custom(
        "set_encode_hex",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [TEXT]`: in hexadecimal.",
    ),
    custom(
        "set_decode_hex",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [TEXT]`: from hexadecimal.",
    ),
    custom(
        "set_encode_base64",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [TEXT]`: in base64.",
    ),
    custom(
        "set_decode_base64",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [TEXT]`: from base64.",
    ),
    custom(
        "set_encode_base64url",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [TEXT]`: in base64 for URLs.",
    ),
    custom(
        "set_decode_base64url",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [TEXT]`: from base64 for URLs.",
    ),
    custom(
        "set_encode_base32",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [TEXT]`: in base32.",
    ),
    custom(
        "set_decode_base32",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [TEXT]`: from base32; empty where it is none.",
    ),
    custom(
        "set_secure_random_alphanum",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [LENGTH]`: random letters and digits, 64 at most.",
    ),
    custom(
        "set_secure_random_lcalpha",
        REWRITE,
        Arity::Between(1, 2),
        setter,
        "`$NAME [LENGTH]`: random small letters, 64 at most.",
    ),
    custom(
        "set_if_empty",
        REWRITE,
        Arity::Exactly(2),
        setter,
        "`$NAME TEXT`: the text where the variable is empty.",
    ),
    custom(
        "set_hmac_sha1",
        REWRITE,
        Arity::Exactly(3),
        setter,
        "`$NAME KEY TEXT`: the HMAC in 20 bytes.",
    ),
    custom(
        "set_hmac_sha256",
        REWRITE,
        Arity::Exactly(3),
        setter,
        "`$NAME KEY TEXT`: the HMAC in 32 bytes.",
    ),
    custom("set_random", REWRITE, Arity::Exactly(3), setter, "`$NAME FROM TO`: a random number."),
    custom(
        "set_rotate",
        REWRITE,
        Arity::Exactly(3),
        setter,
        "`$NAME FROM TO`: the next number, and round again.",
    ),
    custom(
        "set_local_today",
        REWRITE,
        Arity::Exactly(1),
        setter,
        "`$NAME`: the local date, `2026-11-23`.",
    ),
    custom(
        "set_formatted_local_time",
        REWRITE,
        Arity::Exactly(2),
        setter,
        "`$NAME FORMAT`: the local time by strftime(3).",
    ),
    custom(
        "set_formatted_gmt_time",
        REWRITE,
        Arity::Exactly(2),
        setter,
        "`$NAME FORMAT`: the time in UTC by strftime(3).",
    ),
    custom(
        "set_hashed_upstream",
        REWRITE,
        Arity::Exactly(3),
        setter,
        "`$NAME LIST KEY`: the upstream of an `upstream_list` that a key's hash picks.",
    ),
    flag(
        "set_base32_padding",
        ANY_LEVEL,
        setting!(set_base32_padding),
        "Fills base32 up with `=`; default on.",
    ),
    flag(
        "set_misc_base32_padding",
        ANY_LEVEL,
        setting!(set_base32_padding),
        "The old name of `set_base32_padding`.",
    ),
    custom(
        "set_base32_alphabet",
        ANY_LEVEL,
        Arity::Exactly(1),
        alphabet,
        "The 32 digits of base32; default `0` to `9` and `a` to `v`.",
    ),
    custom(
        "upstream_list",
        HTTP,
        Arity::AtLeast(2),
        upstream_list,
        "A list for `set_hashed_upstream`: `NAME UPSTREAM…`.",
    ),
];

/// Those whose first argument is the variable's own value.
const OF_ITSELF: [&str; 2] = ["set_if_empty", "set_rotate"];

fn setter(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let variable = lower.variable(node, node.arg(0));
    let mut args: Vec<_> = node.texts().skip(1).map(|it| lower.text(node, it)).collect();
    let wants_own = args.is_empty() && node.name != "set_local_today";
    if wants_own || OF_ITSELF.contains(&node.name.as_str()) {
        args.insert(0, format!("${{{variable}}}"));
    }
    if let Some(rewrite) = scope.rewrite() {
        let (at, directive) = (node.at.clone(), node.name.clone());
        rewrite.push(RewriteOp::Setter { at, directive, variable, args });
    }
}

fn alphabet(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let text = node.arg(0);
    if text.len() != 32 || !text.is_ascii() {
        let message = "\"set_base32_alphabet\" directive takes an alphabet of 32 bytes";
        return lower.fault(node, format!("{message}, not \"{text}\""));
    }
    let slot = scope.settings().map(|it| &mut it.set_base32_alphabet);
    lower.once(node, slot, Some(text.to_owned()));
}

fn upstream_list(_: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let names = node.texts().skip(1).map(str::to_owned).collect();
    if let Some(http) = scope.http() {
        http.upstream_lists.push((node.arg(0).to_owned(), names));
    }
}
