//! What goes wrong with a socket, in the words that scripts compare.

use crate::sys::errno;
use std::fmt;
use std::io;

/// Why an operation of a socket failed; reads as lua-nginx-module says it.
#[derive(Debug)]
pub enum Error {
    /// It took too long.
    Timeout,
    /// The other side has closed, or the script has.
    Closed,
    /// The operating system's word.
    System(io::Error),
    /// The resolver's, or one about the arguments.
    Text(String),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            // A client's connection that its owner saw end.
            io::ErrorKind::ConnectionAborted if error.raw_os_error().is_none() => {
                Self::Text("client aborted".to_owned())
            }
            _ => Self::System(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timeout"),
            Self::Closed => f.write_str("closed"),
            Self::Text(text) => f.write_str(text),
            Self::System(error) if error.raw_os_error().is_some() => {
                // As LuaSocket words it: `connection refused`.
                f.write_str(&errno::words(error).to_ascii_lowercase())
            }
            Self::System(_) => f.write_str("error"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lua_nginx_module_s() {
        let aborted = Error::from(io::Error::from(io::ErrorKind::ConnectionAborted));
        assert_eq!(aborted.to_string(), "client aborted");
        let refused = Error::from(io::Error::from_raw_os_error(libc::ECONNREFUSED));
        assert_eq!(refused.to_string(), "connection refused");
        let reset = Error::from(io::Error::from_raw_os_error(libc::ECONNRESET));
        assert_eq!(reset.to_string(), "connection reset by peer");
        assert_eq!(Error::from(io::Error::other("odd")).to_string(), "error");
        assert_eq!(
            Error::from(io::Error::from(io::ErrorKind::UnexpectedEof)).to_string(),
            "closed"
        );
        assert_eq!(Error::Timeout.to_string(), "timeout");
    }
}
