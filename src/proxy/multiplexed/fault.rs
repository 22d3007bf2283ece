//! What goes wrong with HTTP/2, in nginx's words where it has some, and whether the request may be
//! sent once more.

use crate::log::Level;
use crate::proxy::exchange::Failed;
use crate::sys::errno::Errno;
use crate::upstream::retry::Fault;
use ::h2::{Error, Reason};
use std::fmt;

/// Why the body of a response breaks off.
#[derive(Debug)]
pub(in crate::proxy) struct Interrupted(pub(super) Error);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&words(&self.0))
    }
}

/// nginx's words for `error`.
pub(super) fn words(error: &Error) -> String {
    let code = error.reason().map_or(0, u32::from);
    match error.get_io() {
        Some(error) if error.raw_os_error().is_some() => format!("recv() failed {}", Errno(error)),
        Some(_) => "upstream prematurely closed connection".to_owned(),
        None if error.is_go_away() && error.is_remote() => {
            format!("upstream sent goaway with error {code}")
        }
        None if error.is_reset() && error.is_remote() => {
            format!("upstream rejected request with error {code}")
        }
        None => format!("upstream sent invalid http2 frame: {error}"),
    }
}

/// Whether the peer says that it has not begun with the request (RFC 9113 section 8.7): GOAWAY
/// names the last stream that it looks at, and a refused one has not been looked at.
pub(super) fn is_unprocessed(error: &Error) -> bool {
    error.is_remote()
        && (error.is_go_away()
            || error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM))
}

/// Why a try without the head of a response has failed; a request of which nothing was `sent` may
/// be sent again.
pub(super) fn lost(error: &Error, sent: bool) -> Failed {
    let is_peers = error.is_io() || error.is_remote();
    Failed {
        fault: if is_peers { Fault::Error } else { Fault::InvalidHeader },
        sent,
        stale: false,
        reason: format!("{} while reading response header from upstream", words(error)),
        level: Level::Error,
    }
}
