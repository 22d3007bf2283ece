//! Base64 as nginx has it: what decodes is lenient about the last digit's spare bits, and reads no
//! further than the first `=` (`ngx_decode_base64`).

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_encode_padding(false)
    .with_decode_padding_mode(DecodePaddingMode::RequireNone);

/// RFC 4648's alphabet; it writes no padding.
pub const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
/// The alphabet for URLs and names of files; it writes no padding.
pub const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// `text` in the standard alphabet, with its padding.
pub fn encode(text: &[u8]) -> Vec<u8> {
    let mut encoded = vec![0; text.len().div_ceil(3) * 4];
    let count = encode_into(text, &mut encoded).unwrap_or_default();
    encoded.truncate(count);
    encoded
}

/// Writes what [`encode`] gives: how many bytes, `None` where there is no room for them.
pub fn encode_into(text: &[u8], room: &mut [u8]) -> Option<usize> {
    let room = room.get_mut(..text.len().div_ceil(3) * 4)?;
    let count = STANDARD.encode_slice(text, room).ok()?;
    room[count..].fill(b'=');
    Some(room.len())
}

/// What `text` up to its first `=` stands for, `None` where it has another byte than `alphabet`
/// or a digit too many.
pub fn decode(alphabet: &GeneralPurpose, text: &[u8]) -> Option<Vec<u8>> {
    alphabet.decode(unpadded(text)).ok()
}

/// Writes what [`decode`] gives of the standard alphabet: how many bytes; `None` also where there
/// is no room for them.
pub fn decode_into(text: &[u8], room: &mut [u8]) -> Option<usize> {
    STANDARD.decode_slice(unpadded(text), room).ok()
}

/// What [`decode`] gives where bytes that are not of the standard alphabet are passed over, as MIME
/// has it.
pub fn decode_mime(text: &[u8]) -> Option<Vec<u8>> {
    let is_of_it = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let kept: Vec<u8> = unpadded(text).iter().copied().filter(is_of_it).collect();
    STANDARD.decode(kept).ok()
}

fn unpadded(text: &[u8]) -> &[u8] {
    &text[..memchr::memchr(b'=', text).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_padded_where_they_have_room() {
        for (text, encoded) in [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj")] {
            assert_eq!(encode(text.as_bytes()), encoded.as_bytes());
            assert_eq!(decode(&STANDARD, encoded.as_bytes()).as_deref(), Some(text.as_bytes()));
            let mut room = [0; 4];
            let count = encode_into(text.as_bytes(), &mut room);
            assert_eq!(count.map(|it| &room[..it]), Some(encoded.as_bytes()));
        }
        assert_eq!(encode_into(b"abcd", &mut [0; 7]), None);
        let mut room = [0; 3];
        assert_eq!((decode_into(b"YWI=", &mut room), &room[..2]), (Some(2), &b"ab"[..]));
        assert_eq!(decode_into(b"YWJjZGVm", &mut room), None);
    }

    #[test]
    fn what_decodes_is_what_nginx_decodes() {
        let decoded = |text: &str| decode(&STANDARD, text.as_bytes());
        assert_eq!(decoded("YR"), Some(b"a".into()), "spare bits");
        assert_eq!(decoded("YQ=!"), Some(b"a".into()), "nothing behind the padding is read");
        assert_eq!((decoded("Y"), decoded("Y!Q=")), (None, None));
        assert_eq!(decode(&URL_SAFE, b"YT8-"), Some(b"a?>".into()));
        assert_eq!(decode_mime(b"Y Q\n=="), Some(b"a".into()));
    }
}
