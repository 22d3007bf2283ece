//! Who may come in: `allow`, `deny`, `satisfy`, `auth_basic`, `auth_request`.

use crate::config::model::access::network;
use crate::config::model::{AccessRule, AuthRequestSet, Whom};
use crate::config::nginx::directive::{Apply, Arity, Directive, HSL, ONE, Scope, custom, setting};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use std::net::IpAddr;

pub(super) const TABLE: &[Directive] = &[
    custom("allow", HSL, ONE, rule, "Lets clients in: `ADDRESS | NETWORK/BITS | unix: | all`."),
    custom("deny", HSL, ONE, rule, "Keeps clients out; the first rule that fits counts."),
    custom("satisfy", HSL, ONE, satisfy, "`all` (default) checks of access, or `any` of them."),
    Directive::new(
        "auth_basic",
        HSL,
        ONE,
        Apply::Text(setting!(auth_basic)),
        "Asks for a password: the realm, or `off`.",
    ),
    Directive::new(
        "auth_basic_user_file",
        HSL,
        ONE,
        Apply::Text(setting!(auth_basic_user_file)),
        "Users and passwords: lines `NAME:PASSWORD`, of crypt(3), `$apr1$`, `{PLAIN}`, `{SHA}`, \
         `{SSHA}`.",
    ),
    Directive::new(
        "auth_request",
        HSL,
        ONE,
        Apply::Word(setting!(auth_request)),
        "Asks a location by a subrequest: 2xx lets in, 401 and 403 do not; its URI, or `off`.",
    ),
    custom(
        "auth_request_set",
        HSL,
        Arity::Exactly(2),
        request_set,
        "Sets a variable by those of the subrequest of `auth_request`: `$NAME VALUE`.",
    ),
];

fn rule(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let Some((whom, is_exact)) = whom(node.arg(0)) else {
        let help = "it is an address, a network such as 10.0.0.0/8, unix: or all";
        return lower.fault(node, format!("invalid parameter \"{}\"; {help}", node.arg(0)));
    };
    if !is_exact {
        lower.warning(node, format!("low address bits of {} are meaningless", node.arg(0)));
    }
    let rule = AccessRule { at: node.at.clone(), allow: node.name == "allow", whom };
    if let Some(settings) = scope.settings() {
        settings.access.get_or_insert_with(Vec::new).push(rule);
    }
}

/// Whom `text` means, and whether it says no more than that (`ngx_ptocidr`).
fn whom(text: &str) -> Option<(Whom, bool)> {
    match text {
        "all" => return Some((Whom::All, true)),
        "unix:" => return Some((Whom::Unix, true)),
        _ => {}
    }
    network_of(text).map(|(address, bits, exact)| (Whom::Network { address, bits }, exact))
}

/// The network `ADDRESS[/BITS]`: its address, how many bits count, and whether no others are set.
pub(super) fn network_of(text: &str) -> Option<(IpAddr, u8, bool)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => most,
        Some(bits) => {
            let is_number = bits.bytes().all(|it| it.is_ascii_digit());
            bits.parse().ok().filter(|it| is_number && *it <= most)?
        }
    };
    let net = network(address, bits);
    Some((net, bits, net == address))
}

fn request_set(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let variable = lower.variable(node, node.arg(0));
    let value = lower.text(node, node.arg(1));
    let line = AuthRequestSet { at: node.at.clone(), variable, value };
    if let Some(settings) = scope.settings() {
        settings.auth_request_set.get_or_insert_with(Vec::new).push(line);
    }
}

fn satisfy(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let value = match node.arg(0) {
        "all" => false,
        "any" => true,
        text => {
            let help = "it must be \"all\" or \"any\"";
            return lower.fault(node, format!("invalid value \"{text}\"; {help}"));
        }
    };
    lower.once(node, scope.settings().map(|it| &mut it.satisfy_any), Some(value));
}
