//! The client's side of HTTP/1: the heads that are taken, and how connections close.

use crate::config::model::{BodyInFile, LargeBuffers, LingeringClose};
use crate::config::nginx::directive::{
    Apply, Arity, Directive, HSL, HTTP, ONE, SERVER, Scope, custom, flag, millis, setting,
};
use crate::config::nginx::lower::Lower;
use crate::config::nginx::tree::Node;
use crate::config::units;

pub(super) const TABLE: &[Directive] = &[
    Directive::new(
        "client_header_buffer_size",
        HTTP | SERVER,
        ONE,
        Apply::Size(setting!(client_header_buffer_size)),
        "The longest line of a head where `large_client_header_buffers` has less; default `1k`.",
    ),
    custom(
        "large_client_header_buffers",
        HTTP | SERVER,
        Arity::Exactly(2),
        large_buffers,
        "`NUMBER SIZE`: no line of a head is longer than one, no head than all; default `4 8k`.",
    ),
    flag(
        "bare_lf_in_headers",
        HTTP | SERVER,
        setting!(bare_lf_in_headers),
        "Takes heads whose lines end with LF alone, as nginx does; default off.",
    )
    .ours(),
    custom(
        "client_body_in_file_only",
        HSL,
        ONE,
        in_file_only,
        "Writes every body that is read to a file: `on`, `clean` (the file goes with its request) \
         or `off` (default).",
    ),
    custom(
        "lingering_close",
        HSL,
        ONE,
        lingering_close,
        "Reads what a client still sends before its connection closes, so that it sees the \
         answer: `on` (default) where more may come, `always` or `off`.",
    ),
    millis(
        "lingering_time",
        HSL,
        setting!(lingering_time_ms),
        "For how long that is done at most; default `30s`.",
    ),
    millis(
        "lingering_timeout",
        HSL,
        setting!(lingering_timeout_ms),
        "The time between two such reads; default `5s`.",
    ),
];

fn large_buffers(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let number = node.arg(0).parse().ok().filter(|it| *it > 0);
    let size = units::bytes(node.arg(1)).filter(|it| *it > 0);
    let (Some(number), Some(size_bytes)) = (number, size) else {
        let text = node.args.iter().map(|it| &*it.text).collect::<Vec<_>>().join(" ");
        let help = "it takes a number and a size such as 4 8k";
        let message = format!("invalid value \"{text}\" in \"{}\"; {help}", node.name);
        return lower.fault(node, message);
    };
    let slot = scope.settings().map(|it| &mut it.large_client_header_buffers);
    lower.once(node, slot, Some(LargeBuffers { number, size_bytes }));
}

fn in_file_only(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let value = match node.arg(0) {
        "on" => BodyInFile::On,
        "clean" => BodyInFile::Clean,
        "off" => BodyInFile::Off,
        text => {
            let help = "it must be \"on\", \"clean\" or \"off\"";
            return lower.fault(node, format!("invalid value \"{text}\"; {help}"));
        }
    };
    lower.once(node, scope.settings().map(|it| &mut it.client_body_in_file_only), Some(value));
}

fn lingering_close(lower: &mut Lower<'_>, scope: &mut Scope<'_>, node: &Node) {
    let value = match node.arg(0) {
        "on" => LingeringClose::On,
        "off" => LingeringClose::Off,
        "always" => LingeringClose::Always,
        text => {
            let help = "it must be \"on\", \"off\" or \"always\"";
            return lower.fault(node, format!("invalid value \"{text}\"; {help}"));
        }
    };
    lower.once(node, scope.settings().map(|it| &mut it.lingering_close), Some(value));
}
