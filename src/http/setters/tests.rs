//! The functions by their words.

use super::*;

fn call(name: &str, text: &[u8]) -> Result<String, String> {
    let made = function(name).unwrap()(&Base32::default(), text)?;
    Ok(String::from_utf8(made).unwrap())
}

#[test]
fn texts_are_encoded_and_decoded() {
    for (name, text, made) in [
        ("set_escape_uri", "a b/é", "a%20b%2F%C3%A9"),
        ("set_unescape_uri", "a+b%2Fc%zz%4", "a b/czz"),
        ("set_quote_sql_str", "it's \"$a\"\n", "'it\\'s \\\"\\$a\\\"\\n'"),
        ("set_quote_sql_str", "", "''"),
        ("set_quote_json_str", "a\"\n\x01", "\"a\\\"\\n\\u0001\""),
        ("set_quote_json_str", "", "null"),
        ("set_quote_pgsql_str", "a'b", "E'a\\'b'"),
        ("set_md5", "hello", "5d41402abc4b2a76b9719d911017c592"),
        ("set_sha1", "hello", "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"),
        ("set_encode_hex", "AB", "4142"),
        ("set_decode_hex", "4142", "AB"),
        ("set_encode_base64", "a", "YQ=="),
        ("set_decode_base64", "YQ==", "a"),
        ("set_encode_base64url", "??>", "Pz8-"),
        ("set_decode_base64url", "Pz8-", "??>"),
        ("set_encode_base32", "abcde", "c5h66p35"),
        ("set_encode_base32", "a", "c4======"),
        ("set_decode_base32", "c4======", "a"),
        ("set_decode_base32", "!", ""),
    ] {
        assert_eq!(call(name, text.as_bytes()).as_deref(), Ok(made), "{name} {text}");
    }
    assert_eq!(call("set_decode_hex", b"4"), Err("set_decode_hex: invalid value".into()));
    assert_eq!(call("set_decode_hex", b"+1"), Err("set_decode_hex: invalid value".into()));
    assert_eq!(call("set_decode_base64", b"!"), Err("set_decode_base64: invalid value".into()));
    assert_eq!(call("set_quote_pgsql_str", b"\xff").unwrap(), "E'\\\\377'");
    assert!(function("set_if_empty").is_none());
}

#[test]
fn every_length_comes_back_from_base32() {
    let base = Base32 { alphabet: *b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", padding: false };
    for length in 0..40u8 {
        let bytes: Vec<u8> = (0..length).map(|it| it.wrapping_mul(37)).collect();
        assert_eq!(decode_base32(&base, &encode_base32(&base, &bytes)), Some(bytes));
    }
}

#[test]
fn numbers_are_drawn_and_turned() {
    for _ in 0..20 {
        let drawn: i64 = String::from_utf8(random(b"5", b"3").unwrap()).unwrap().parse().unwrap();
        assert!((3..=5).contains(&drawn));
    }
    assert_eq!(random(b"x", b"3"), Err("set_random: bad \"from\" argument: x".into()));
    assert_eq!(rotate(b"1", b"1", b"3", None), Ok((2, None)));
    assert_eq!(rotate(b"3", b"3", b"1", None), Ok((1, None)));
    assert_eq!(rotate(b"", b"1", b"3", None), Ok((1, None)));
    assert_eq!(rotate(b"", b"1", b"3", Some(2)), Ok((3, None)));
    assert_eq!(rotate(b"x", b"1", b"3", Some(1)).unwrap().0, 2);
    assert!(rotate(b"1", b"1", b"", None).is_err());
    for (length, wanted) in
        [("1", Some(1)), ("64", Some(64)), ("65", None), ("0", None), ("", None)]
    {
        let drawn = call("set_secure_random_lcalpha", length.as_bytes()).ok();
        assert_eq!(drawn.as_ref().map(String::len), wanted);
        assert!(drawn.is_none_or(|it| it.bytes().all(|it| it.is_ascii_lowercase())));
    }
}

#[test]
fn times_are_formatted() {
    assert_eq!(call("set_formatted_gmt_time", b"").as_deref(), Ok(""));
    assert_eq!(call("set_formatted_gmt_time", b"%%x").as_deref(), Ok("%x"));
    assert_eq!(call("set_local_today", b"").unwrap().len(), 10);
    assert!(call("set_formatted_local_time", "x".repeat(300).as_bytes()).is_err());
}
