//! What is signed: the cookie that makes a user sticky, and the token that lets one choose.
//!
//! HMAC-SHA256, cut to 16 bytes, over what it is for, the rollout's name and the content, so that
//! nothing signed for one use or rollout passes for another.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Bytes of a signature, and of a user's id.
pub const LENGTH: usize = 16;

/// A user's id: 16 random bytes.
pub type Id = [u8; LENGTH];

/// A key of signatures, ready for use.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// From the bytes of a file or of the journal; blanks and line ends around them do not count.
    ///
    /// # Errors
    /// Fewer than 16 bytes: that can be guessed.
    pub fn new(bytes: &[u8]) -> Result<Self, &'static str> {
        let bytes = bytes.trim_ascii();
        if bytes.len() < LENGTH {
            return Err("a secret has 16 bytes at least");
        }
        Ok(Self(Hmac::new_from_slice(bytes).expect("HMAC takes keys of any length")))
    }

    /// The value of the cookie of the user `id`: `ID.SIGNATURE`, 65 hexadecimal bytes.
    pub fn cookie(&self, rollout: &str, id: &Id) -> String {
        let mac = self.mac(b"cookie", rollout, id).finalize().into_bytes();
        let mut text = hex(id);
        text.push('.');
        text.push_str(&hex(&mac[..LENGTH]));
        text
    }

    /// The user whose cookie's value this is; none where it was not signed here.
    pub fn user(&self, rollout: &str, value: &[u8]) -> Option<Id> {
        let (id, signature) = value.split_at_checked(2 * LENGTH)?;
        let id = unhex(id)?;
        let signature = unhex(signature.strip_prefix(b".")?)?;
        let mac = self.mac(b"cookie", rollout, &id);
        mac.verify_truncated_left(&signature).is_ok().then_some(id)
    }

    /// A token that lets its bearer choose a variant of `rollout` until `expires_s` (seconds since
    /// 1970): `EXPIRES.SIGNATURE`.
    pub fn token(&self, rollout: &str, expires_s: u64) -> String {
        let expires = expires_s.to_string();
        let mac = self.mac(b"token", rollout, expires.as_bytes()).finalize().into_bytes();
        format!("{expires}.{}", hex(&mac[..LENGTH]))
    }

    /// Whether `token` was signed here and has not expired.
    pub fn allows(&self, rollout: &str, token: &[u8], now_s: u64) -> bool {
        let Some(dot) = token.iter().position(|it| *it == b'.') else { return false };
        let (expires, signature) = (&token[..dot], &token[dot + 1..]);
        let time = std::str::from_utf8(expires).ok().and_then(|it| it.parse::<u64>().ok());
        let (Some(time), Some(signature)) = (time, unhex(signature)) else { return false };
        let mac = self.mac(b"token", rollout, expires);
        time > now_s && mac.verify_truncated_left(&signature).is_ok()
    }

    fn mac(&self, what_for: &[u8], rollout: &str, content: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in [what_for, b"\0", rollout.as_bytes(), b"\0", content] {
            mac.update(part);
        }
        mac
    }
}

/// The user that a cookie's value names, signed or not.
pub fn id_of(value: &str) -> Option<Id> {
    unhex(value.as_bytes().get(..2 * LENGTH)?)
}

/// `bytes` in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |it: u8| char::from(DIGITS[usize::from(it & 15)]);
    bytes.iter().flat_map(|it| [digit(it >> 4), digit(*it)]).collect()
}

/// 16 bytes from 32 hexadecimal digits.
fn unhex(text: &[u8]) -> Option<Id> {
    if text.len() != 2 * LENGTH {
        return None;
    }
    let mut bytes = [0; LENGTH];
    let digit = |it: u8| char::from(it).to_digit(16).and_then(|it| u8::try_from(it).ok());
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(bytes: &[u8]) -> Secret {
        Secret::new(bytes).unwrap()
    }

    #[test]
    fn a_cookie_names_its_user_and_nothing_else_does() {
        let (ours, theirs) = (secret(b"0123456789abcdef\n"), secret(b"0123456789abcdeF"));
        let id = [7; LENGTH];
        let value = ours.cookie("api", &id);
        assert_eq!(value.len(), 65);
        assert_eq!(ours.user("api", value.as_bytes()), Some(id));
        assert_eq!(secret(b" 0123456789abcdef").user("api", value.as_bytes()), Some(id));
        assert_eq!(ours.user("shop", value.as_bytes()), None);
        assert_eq!(theirs.user("api", value.as_bytes()), None);
        for index in 0..value.len() {
            let mut forged = value.clone().into_bytes();
            forged[index] = if forged[index] == b'0' { b'1' } else { b'0' };
            assert_eq!(ours.user("api", &forged), None, "byte {index}");
            assert_eq!(ours.user("api", &value.as_bytes()[..index]), None, "cut at {index}");
        }
        assert_eq!(ours.user("api", format!("{value}0").as_bytes()), None);
    }

    #[test]
    fn a_token_ends() {
        let secret = secret(b"0123456789abcdef");
        let token = secret.token("api", 1000);
        assert!(secret.allows("api", token.as_bytes(), 999));
        assert!(!secret.allows("api", token.as_bytes(), 1000));
        assert!(!secret.allows("shop", token.as_bytes(), 999));
        let later = token.replacen("1000", "9000", 1);
        assert!(!secret.allows("api", later.as_bytes(), 999));
        for text in ["", ".", "1000", "1000.", "x.00", "-1.00"] {
            assert!(!secret.allows("api", text.as_bytes(), 0), "{text}");
        }
    }

    #[test]
    fn a_cookie_is_no_token() {
        let secret = secret(b"0123456789abcdef");
        let cookie = secret.cookie("api", b"9999999999999999");
        let as_token = format!("9999999999999999.{}", &cookie[33..]);
        assert!(!secret.allows("api", as_token.as_bytes(), 0));
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(Secret::new(b"  fifteen bytes.\n").is_err());
        assert_eq!(format!("{:?}", secret(b"0123456789abcdef")), "Secret(…)");
    }
}
