//! How grave a line of an error log is.

use std::fmt;
use std::str::FromStr;

/// nginx's levels by their number; a log set to one takes it and all graver ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// `ngx.STDERR`: taken by every log, shown as `[]`.
    Stderr = 0,
    /// The server cannot go on.
    Emerg = 1,
    /// Somebody has to act.
    Alert = 2,
    /// A grave fault of one request or peer.
    Crit = 3,
    /// What a request failed for.
    Error = 4,
    /// Odd, but served.
    Warn = 5,
    /// Life of the server: started, reloaded.
    Notice = 6,
    /// What clients do: went away, sent nonsense.
    Info = 7,
    /// Anything else.
    Debug = 8,
}

impl Level {
    /// All, by number.
    pub const ALL: [Self; 9] = [
        Self::Stderr,
        Self::Emerg,
        Self::Alert,
        Self::Crit,
        Self::Error,
        Self::Warn,
        Self::Notice,
        Self::Info,
        Self::Debug,
    ];

    /// The level of a number from 0 to 8.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The next one that is less grave, down to `info` (`limit_req`'s delays).
    pub const fn below(self) -> Self {
        match self {
            Self::Stderr | Self::Emerg => Self::Alert,
            Self::Alert => Self::Crit,
            Self::Crit => Self::Error,
            Self::Error => Self::Warn,
            Self::Warn => Self::Notice,
            Self::Notice | Self::Info => Self::Info,
            Self::Debug => Self::Debug,
        }
    }

    /// What a line shows in brackets, and `error_log` takes as its second argument.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stderr => "",
            Self::Emerg => "emerg",
            Self::Alert => "alert",
            Self::Crit => "crit",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a log level")]
pub struct UnknownLevel;

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(name: &str) -> Result<Self, UnknownLevel> {
        let named = |it: &&Self| **it != Self::Stderr && it.name() == name;
        Self::ALL.iter().find(named).copied().ok_or(UnknownLevel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_name_the_same() {
        for (number, level) in (0u8..).zip(Level::ALL) {
            assert_eq!((Level::from_number(number), level as u8), (Some(level), number));
        }
        assert_eq!(Level::from_number(9), None);
        assert_eq!("warn".parse(), Ok(Level::Warn));
        assert_eq!("".parse::<Level>(), Err(UnknownLevel));
        assert_eq!("warning".parse::<Level>(), Err(UnknownLevel));
    }
}
