//! Within `rollout`: how the variant of a request is chosen.

use crate::config::model::{
    Ask, AskSource, Choice, OnMissing, Rollout, Rule, StickyCookie, StickyKey, Trust,
};
use crate::config::nginx::directive::{Arity, Directive, ROLLOUT, Scope, custom};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use crate::config::units;
use std::net::IpAddr;

pub(super) const TABLE: &[Directive] = &[
    custom(
        "header",
        ROLLOUT,
        Arity::Between(1, 3),
        ask,
        "A request header that chooses: `NAME` by label, always or never; `NAME value TEXT` or \
         `NAME pattern REGEX` the first canary.",
    )
    .ours(),
    custom("cookie", ROLLOUT, Arity::Between(1, 3), ask, "The same by a cookie.").ours(),
    custom(
        "when",
        ROLLOUT,
        Arity::Between(2, 4),
        when,
        "A rule, the first that holds: `$variable [=|!=|~|~*|!~|!~* TEXT] LABEL`.",
    )
    .ours(),
    custom(
        "sticky",
        ROLLOUT,
        Arity::AtLeast(1),
        sticky,
        "What a user's share hangs on: `KEY [on_missing=stable|random]`, and where there is none \
         `cookie NAME [max_age=] [path=] [domain=] [secure] [samesite=] [secret_file=]`.",
    )
    .ours(),
    custom(
        "trust",
        ROLLOUT,
        Arity::AtLeast(1),
        trust,
        "Who may choose by header or cookie: `ADDRESS[/PREFIX]…`, or `token secret_file=PATH \
         [header=NAME]`; default everyone.",
    )
    .ours(),
];

fn ask(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let words: Vec<&str> = node.texts().collect();
    let choice = match words[1..] {
        [] => Choice::Label,
        ["value", text] if !text.is_empty() => Choice::Value(text.to_owned()),
        ["pattern", regex] if !regex.is_empty() => Choice::Pattern(regex.to_owned()),
        _ => {
            let help = "write NAME, NAME value TEXT or NAME pattern REGEX";
            return lower.fault(node, format!("invalid \"{}\" of a rollout; {help}", node.name));
        }
    };
    let source = if node.name == "cookie" { AskSource::Cookie } else { AskSource::Header };
    if let Some(rollout) = scope.rollout() {
        let (at, name) = (node.at.clone(), words[0].to_owned());
        rollout.asks.push(Ask { at, source, name, choice });
    }
}

fn when(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let words: Vec<&str> = node.texts().collect();
    let Some((variant, words)) = words.split_last() else { return };
    match super::rewrite::condition(words) {
        Ok(condition) => {
            if let Some(rollout) = scope.rollout() {
                let (at, variant) = (node.at.clone(), (*variant).to_owned());
                rollout.rules.push(Rule { at, condition, variant });
            }
        }
        Err(message) => lower.fault(node, message),
    }
}

fn sticky(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some(rollout) = scope.rollout() else { return };
    if node.arg(0) == "cookie" && node.args.len() > 1 {
        return sticky_cookie(lower, rollout, node);
    }
    let key = lower.text(node, node.arg(0));
    let on_missing = match node.texts().skip(1).collect::<Vec<_>>()[..] {
        [] | ["on_missing=stable"] => OnMissing::Stable,
        ["on_missing=random"] => OnMissing::Random,
        _ => {
            let help = "only on_missing=stable or on_missing=random may follow the key";
            return lower.fault(node, format!("invalid parameter of \"sticky\"; {help}"));
        }
    };
    let key = StickyKey { at: node.at.clone(), key, on_missing };
    lower.once(node, Some(&mut rollout.key), Some(key));
}

fn sticky_cookie(lower: &mut Lower<'_>, rollout: &mut Rollout, node: &Node) {
    let mut cookie = StickyCookie {
        at: node.at.clone(),
        name: node.arg(1).to_owned(),
        max_age_s: None,
        path: None,
        domain: None,
        secure: false,
        samesite: None,
        secret_file: None,
    };
    for text in node.texts().skip(2) {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let value = || Some(value.to_owned()).filter(|it| !it.is_empty());
        let taken = match name {
            "max_age" => {
                cookie.max_age_s = value().and_then(|it| units::seconds(&it)).map(|it| it / 1000);
                cookie.max_age_s.is_some()
            }
            "path" => {
                cookie.path = value();
                cookie.path.is_some()
            }
            "domain" => {
                cookie.domain = value();
                cookie.domain.is_some()
            }
            "secret_file" => {
                cookie.secret_file = value();
                cookie.secret_file.is_some()
            }
            "samesite" => {
                cookie.samesite = ["Strict", "Lax", "None"]
                    .into_iter()
                    .find(|it| value().is_some_and(|word| word.eq_ignore_ascii_case(it)))
                    .map(str::to_owned);
                cookie.samesite.is_some()
            }
            "secure" => {
                cookie.secure = true;
                text == "secure"
            }
            _ => false,
        };
        if !taken {
            lower.fault(node, format!("invalid parameter \"{text}\""));
        }
    }
    lower.once(node, Some(&mut rollout.cookie), Some(cookie));
}

fn trust(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some(rollout) = scope.rollout() else { return };
    if node.arg(0) == "token" {
        return token(lower, rollout, node);
    }
    for text in node.texts() {
        match network(text) {
            Ok((address, prefix)) => {
                rollout.trust.push(Trust::Network { at: node.at.clone(), address, prefix });
            }
            Err(message) => lower.fault(node, message),
        }
    }
}

fn token(lower: &mut Lower<'_>, rollout: &mut Rollout, node: &Node) {
    let (mut secret_file, mut header) = (String::new(), None);
    for text in node.texts().skip(1) {
        match text.split_once('=') {
            Some(("secret_file", path)) => path.clone_into(&mut secret_file),
            Some(("header", name)) if !name.is_empty() => header = Some(name.to_owned()),
            _ => lower.fault(node, format!("invalid parameter \"{text}\"")),
        }
    }
    if secret_file.is_empty() {
        return lower.fault(node, "\"trust token\" needs secret_file=PATH");
    }
    rollout.trust.push(Trust::Token { at: node.at.clone(), secret_file, header });
}

/// `10.0.0.0/8`, `::1`: an address whose bits behind the prefix are 0.
fn network(text: &str) -> Result<(IpAddr, u8), String> {
    let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
    let invalid = || format!("invalid network \"{text}\"; write an address or ADDRESS/PREFIX");
    let address: IpAddr = address.parse().map_err(|_| invalid())?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = if text.contains('/') { prefix.parse().map_err(|_| invalid())? } else { bits };
    if prefix > bits {
        return Err(invalid());
    }
    let mask = |word: u128, width: u8| match width - prefix {
        0 => word,
        128 => 0,
        rest => word >> rest << rest,
    };
    let first = match address {
        IpAddr::V4(it) => {
            IpAddr::V4(u32::try_from(mask(it.to_bits().into(), 32)).unwrap_or(0).into())
        }
        IpAddr::V6(it) => IpAddr::V6(mask(it.to_bits(), 128).into()),
    };
    if first != address {
        return Err(format!(
            "the network \"{text}\" has bits behind its prefix; write {first}/{prefix}"
        ));
    }
    Ok((address, prefix))
}
