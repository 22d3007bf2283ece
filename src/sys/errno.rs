//! Failed calls as nginx words them: `open() "/x" failed (2: No such file or directory)`.

use std::fmt;
use std::io;

/// A call of the operating system that failed.
#[derive(Debug)]
pub struct Failure {
    /// What was attempted: `open() "/var/log/x"`, `bind() to 0.0.0.0:80`.
    pub attempt: String,
    /// Why it failed.
    pub error: io::Error,
}

impl Failure {
    /// `attempt` failed with `error`.
    pub fn new(attempt: impl Into<String>, error: io::Error) -> Self {
        Self { attempt: attempt.into(), error }
    }

    /// `attempt` failed with this thread's `errno`.
    pub fn last(attempt: impl Into<String>) -> Self {
        Self::new(attempt, io::Error::last_os_error())
    }

    /// The `errno`, when the operating system gave one.
    pub fn errno(&self) -> Option<i32> {
        self.error.raw_os_error()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed {}", self.attempt, Errno(&self.error))
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Whether `connect()` of a TCP socket fails so in the call itself, not later: nginx then names the
/// address.
pub fn fails_at_once(error: &io::Error) -> bool {
    use libc::{ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ETIMEDOUT};
    let later = [ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ETIMEDOUT];
    error.raw_os_error().is_some_and(|code| !later.contains(&code))
}

/// Whether nginx takes a failed `connect()` for grave (`crit`): an address that cannot be, not a
/// peer or a network that is down.
pub fn is_grave(error: &io::Error) -> bool {
    use libc::{EAGAIN, EHOSTDOWN, ENETDOWN, ENETUNREACH};
    let usual = [EAGAIN, ENETDOWN, ENETUNREACH, EHOSTDOWN];
    fails_at_once(error) && error.raw_os_error().is_some_and(|code| !usual.contains(&code))
}

/// The system's words for an error, `No such file or directory`.
pub fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" (os error").map_or(&*text, |(plain, _)| plain).to_owned()
}

/// Shows an error as `(2: No such file or directory)`, and one that is not the operating
/// system's as `(its text)`.
#[derive(Clone, Copy, Debug)]
pub struct Errno<'a>(pub &'a io::Error);

impl fmt::Display for Errno<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = words(self.0);
        match self.0.raw_os_error() {
            Some(code) => write!(f, "({code}: {text})"),
            None => write!(f, "({text})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_nginx_s() {
        let missing = Failure::new("open() \"/x\"", io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(missing.to_string(), "open() \"/x\" failed (2: No such file or directory)");
        let other = io::Error::other("odd");
        assert_eq!(Errno(&other).to_string(), "(odd)");
    }
}
