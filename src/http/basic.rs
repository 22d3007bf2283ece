//! The credentials of Basic authentication (RFC 7617).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// User and password of an `Authorization` field; `None` for one that is of another kind or
/// malformed.
pub fn read(value: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut user = STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = user.iter().position(|it| *it == b':')?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    Some((user, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read() {
        let read = |text: &str| read(text.as_bytes());
        let pair = |user: &str, password: &str| Some((user.into(), password.into()));
        assert_eq!(read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), pair("Aladdin", "open sesame"));
        assert_eq!(read("basic   YTpiOmM="), pair("a", "b:c"));
        assert_eq!(read("Basic Og=="), pair("", ""));
        assert_eq!(read("Basic YQ=="), None, "no colon");
        assert_eq!(read("Basic !"), None);
        assert_eq!(read("Bearer YTpi"), None);
    }
}
