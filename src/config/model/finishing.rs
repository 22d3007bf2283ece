//! What is added to answers on their way out: `expires`, `charset`.

use super::Text;
use crate::config::diagnostic::At;
use crate::config::units;
use serde::{Deserialize, Serialize};

/// `expires [modified] VALUE`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expires {
    /// Where it is written.
    #[serde(default)]
    pub at: At,
    /// The time counts from that of the file.
    #[serde(default)]
    pub modified: bool,
    /// A time, `epoch`, `max` or `off`; with variables.
    pub value: Text,
}

/// What `expires` comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Nothing is added.
    Off,
    /// Never to be kept.
    Epoch,
    /// For ever.
    Max,
    /// So many seconds from now.
    FromNow(i64),
    /// So many seconds from when it was modified.
    FromModified(i64),
    /// Up to this second of the day, local time.
    Daily(i64),
}

impl Lifetime {
    /// Reads a value without variables.
    ///
    /// # Errors
    /// nginx's message.
    pub fn parse(text: &str, modified: bool) -> Result<Self, &'static str> {
        match text {
            "epoch" if !modified => return Ok(Self::Epoch),
            "max" if !modified => return Ok(Self::Max),
            "off" if !modified => return Ok(Self::Off),
            _ => {}
        }
        let seconds = |text| {
            let seconds = units::seconds(text).and_then(|it| i64::try_from(it / 1000).ok());
            seconds.ok_or("invalid value")
        };
        if let Some(text) = text.strip_prefix('@') {
            if modified {
                return Err("daily time cannot be used with \"modified\" parameter");
            }
            return match seconds(text)? {
                86_401.. => Err("daily time value must be less than 24 hours"),
                seconds => Ok(Self::Daily(seconds)),
            };
        }
        let seconds = match text.strip_prefix('-') {
            Some(text) => -seconds(text)?,
            None => seconds(text.strip_prefix('+').unwrap_or(text))?,
        };
        Ok(if modified { Self::FromModified(seconds) } else { Self::FromNow(seconds) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_as_nginx_does() {
        let parse = Lifetime::parse;
        assert_eq!(parse("off", false), Ok(Lifetime::Off));
        assert_eq!(parse("24h", false), Ok(Lifetime::FromNow(86_400)));
        assert_eq!(parse("+1m", true), Ok(Lifetime::FromModified(60)));
        assert_eq!(parse("-1", false), Ok(Lifetime::FromNow(-1)));
        assert_eq!(parse("@15h30m", false), Ok(Lifetime::Daily(55_800)));
        assert_eq!(parse("@24h", false), Ok(Lifetime::Daily(86_400)));
        for (text, modified) in [("@25h", false), ("@1h", true), ("max", true), ("x", false)] {
            assert!(parse(text, modified).is_err(), "{text}");
        }
    }
}
