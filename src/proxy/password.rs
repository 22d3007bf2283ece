//! The passwords of a user file, as nginx reads them.

use crate::sys::crypt::crypt;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha1::Sha1;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// What a user file says of a user and a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// They belong together.
    Right,
    /// They do not.
    Wrong,
    /// There is no such user.
    Nobody,
    /// The password is hashed in a way that is not known here.
    Unreadable,
}

/// Looks `user` up: lines `NAME:HASH[:COMMENT]`, comments behind `#`. It reads, and may compute,
/// for long.
///
/// # Errors
/// The file cannot be read.
pub(super) fn find(path: &Path, user: &[u8], password: &[u8]) -> io::Result<Found> {
    for line in BufReader::new(File::open(path)?).split(b'\n') {
        let line = line?;
        let mut parts = line.trim_ascii_end().split(|it| *it == b':');
        let (Some(name), Some(hash)) = (parts.next(), parts.next()) else { continue };
        if name == user && !name.starts_with(b"#") {
            return Ok(match fits(password, hash) {
                Some(true) => Found::Right,
                Some(false) => Found::Wrong,
                None => Found::Unreadable,
            });
        }
    }
    Ok(Found::Nobody)
}

/// Whether `password` has this hash (`ngx_crypt`); `None` for a hash of an unknown kind.
fn fits(password: &[u8], hash: &[u8]) -> Option<bool> {
    if let Some(plain) = hash.strip_prefix(b"{PLAIN}") {
        return Some(equal(plain, password));
    }
    if let Some(encoded) = hash.strip_prefix(b"{SHA}") {
        return Some(equal(STANDARD.encode(Sha1::digest(password)).as_bytes(), encoded));
    }
    if let Some(encoded) = hash.strip_prefix(b"{SSHA}") {
        let decoded = STANDARD.decode(encoded).ok()?;
        let (digest, salt) = decoded.split_at_checked(20)?;
        return Some(equal(
            &Sha1::new().chain_update(password).chain_update(salt).finalize(),
            digest,
        ));
    }
    if let Some(rest) = hash.strip_prefix(b"$apr1$") {
        let salt = rest.split(|it| *it == b'$').next()?;
        return Some(equal(&apr1(password, &salt[..salt.len().min(8)]), hash));
    }
    crypt(password, hash).map(|it| equal(&it, hash))
}

/// Takes the same time wherever they differ.
fn equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && openssl::memcmp::eq(one, other)
}

/// Apache's variant of MD5-crypt: 1000 rounds.
fn apr1(password: &[u8], salt: &[u8]) -> Vec<u8> {
    let mut sum =
        Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut first = Md5::new().chain_update(password).chain_update("$apr1$").chain_update(salt);
    for begin in (0..password.len()).step_by(16) {
        first.update(&sum[..(password.len() - begin).min(16)]);
    }
    let mut left = password.len();
    while left > 0 {
        first.update(if left & 1 == 1 { &[0][..] } else { password.get(..1).unwrap_or_default() });
        left >>= 1;
    }
    sum = first.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        next.update(if round & 1 == 1 { password } else { &sum });
        if round % 3 > 0 {
            next.update(salt);
        }
        if round % 7 > 0 {
            next.update(password);
        }
        next.update(if round & 1 == 1 { &sum[..] } else { password });
        sum = next.finalize();
    }
    let mut text = [b"$apr1$", salt, b"$"].concat();
    for [high, middle, low] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        let bits = u32::from(sum[high]) << 16 | u32::from(sum[middle]) << 8 | u32::from(sum[low]);
        text_of(bits, 4, &mut text);
    }
    text_of(u32::from(sum[11]), 2, &mut text);
    text
}

/// `count` digits of 6 bits, the lowest first.
fn text_of(mut bits: u32, count: usize, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for _ in 0..count {
        out.push(DIGITS[(bits & 63) as usize]);
        bits >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_all_kinds_are_known() {
        // Made by `openssl passwd` and `htpasswd`.
        for hash in [
            "{PLAIN}secret",
            "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
            "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0",
            "$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0",
            "$1$saltsalt$9xy1btjgzLYfb7hivXtC//",
            "$5$saltstring$PCM4vMRZ",
        ] {
            let is_whole = !hash.starts_with("$5");
            assert_eq!(fits(b"secret", hash.as_bytes()), Some(is_whole), "{hash}");
            assert_eq!(fits(b"Secret", hash.as_bytes()), Some(false), "{hash}");
        }
        // A password that stands there as it is reads as a hash of the oldest kind.
        assert_eq!(fits(b"secret", b"secret"), Some(false));
        assert_eq!(fits(b"secret", b"$none$salt$hash"), None);
        assert_eq!(fits(b"secret", b"{SSHA}AAAA"), None);
    }

    #[test]
    fn users_are_found_by_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# x\na:{PLAIN}1\nb:{PLAIN}2:told\r\n#c:{PLAIN}3\nd\n")
            .unwrap();
        let find = |user: &str, password: &str| {
            super::find(file.path(), user.as_bytes(), password.as_bytes()).unwrap()
        };
        assert_eq!(find("a", "1"), Found::Right);
        assert_eq!(find("a", "2"), Found::Wrong);
        assert_eq!(find("b", "2"), Found::Right);
        for nobody in ["#c", "c", "d", ""] {
            assert_eq!(find(nobody, "3"), Found::Nobody, "{nobody}");
        }
        assert!(super::find(Path::new("/nonexistent"), b"a", b"b").is_err());
    }
}
