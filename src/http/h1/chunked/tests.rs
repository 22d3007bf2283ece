//! Chunked bodies in every split, the ones to refuse, and the way there and back.

use super::*;
use proptest::prelude::*;

/// Decodes `input` shown in pieces of at most `step` bytes: the body, and what follows it.
fn decode(policy: Policy, input: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>), ChunkError> {
    let mut decoder = Decoder::new(policy);
    let mut body = Vec::new();
    for (index, piece) in input.chunks(step).enumerate() {
        let mut rest = piece;
        while !rest.is_empty() && !decoder.is_over() {
            let found = decoder.decode(rest)?;
            assert!(found.framing + found.data > 0, "it goes on");
            body.extend_from_slice(&rest[found.framing..found.framing + found.data]);
            rest = &rest[found.framing + found.data..];
            assert_eq!(found.end, decoder.is_over());
        }
        if decoder.is_over() {
            let after = index * step + piece.len() - rest.len();
            return Ok((body, input[after..].to_vec()));
        }
    }
    Ok((body, b"(more)".to_vec()))
}

fn check(policy: Policy, input: &str, expected: Result<(&str, &str), ChunkError>) {
    let expected = expected.map(|(body, rest)| (body.into(), rest.into()));
    for step in 1..=input.len() {
        assert_eq!(decode(policy, input.as_bytes(), step), expected, "{policy:?} {input:?} {step}");
    }
}

#[test]
fn bodies_in_any_split() {
    for policy in [Policy::Strict, Policy::Lenient] {
        check(policy, "0\r\n\r\n", Ok(("", "")));
        check(policy, "5\r\nhello\r\n0\r\n\r\nGET /", Ok(("hello", "GET /")));
        check(
            policy,
            "3;a=\"b\"\r\nabc\r\n0A;x\r\n0123456789\r\n00\r\n\r\n",
            Ok(("abc0123456789", "")),
        );
        check(policy, "1\r\na\r\n0\r\nX-T: 1\r\nHosts:\r\n\r\n+", Ok(("a", "+")));
        check(policy, "fF\r\nabc", Ok(("abc", "(more)")));
        check(policy, "1\r\na\r\n0\r\nX: 1\r\n", Ok(("a", "(more)")));
    }
}

#[test]
fn what_no_parser_may_accept() {
    for policy in [Policy::Strict, Policy::Lenient] {
        for size in ["\r\n", "g\r\n", "-1\r\n", "+1\r\n", " 1\r\n", "0x1\r\n", ";a\r\n"] {
            check(policy, size, Err(ChunkError::Size));
        }
        check(policy, "8000000000000000\r\n", Err(ChunkError::Size));
        check(policy, "7fffffffffffffff\r\na", Ok(("a", "(more)")));
        check(policy, "ffffffffffffffffff\r\n", Err(ChunkError::Size));
        check(policy, "1\rx", Err(ChunkError::Extension));
        check(policy, "1;a\rb\r\n", Err(ChunkError::Extension));
        check(policy, "1\r\nab", Err(ChunkError::DataEnd));
        check(policy, "1\r\na\rb", Err(ChunkError::DataEnd));
        check(policy, "0\r\n\rx", Err(ChunkError::Trailer));
        check(policy, "0\r\nA: b\rc", Err(ChunkError::Trailer));
    }
}

#[test]
fn what_only_an_upstream_may_send() {
    let lenient = |input, body| check(Policy::Lenient, input, Ok((body, "")));
    let strict = |input, error| check(Policy::Strict, input, Err(error));
    lenient("1\na\r\n0\r\n\r\n", "a");
    strict("1\na\r\n", ChunkError::Size);
    lenient("1 \r\na\n0\t;x\n\n", "a");
    strict("1 \r\n", ChunkError::Size);
    lenient("1;\x01\na\n0\n\n", "a");
    strict("1;\x01\r\n", ChunkError::Extension);
    strict("1;a\nb", ChunkError::Extension);
    strict("1\r\na\n", ChunkError::DataEnd);
    lenient("00000000000000000001\r\na\r\n0\r\n\r\n", "a");
    strict("00000000000000001\r\n", ChunkError::Size);
    lenient("0\r\nno field\r\n\r\n", "");
    for trailer in ["no field", ": x", "A : b", " fold: x", "A: \x01", "A: b\nB: c", "\n"] {
        let trailer = format!("0\r\n{trailer}\r\n\r\n");
        assert_eq!(decode(Policy::Strict, trailer.as_bytes(), 1), Err(ChunkError::Trailer));
    }
    for name in ["Content-Length", "TRANSFER-ENCODING", "host", "Authorization"] {
        let trailer = format!("0\r\nA: b\r\n{name}: 1\r\n\r\n");
        assert_eq!(decode(Policy::Strict, trailer.as_bytes(), 3), Err(ChunkError::Trailer));
        assert!(decode(Policy::Lenient, trailer.as_bytes(), 3).is_ok());
    }
}

#[test]
fn extensions_and_trailers_have_a_limit_over_the_whole_body() {
    for policy in [Policy::Strict, Policy::Lenient] {
        let most = MOST_EXTENSION_BYTES as usize;
        let body =
            |length: usize| format!("1;{}\r\na\r\n1;a\r\na\r\n0\r\n\r\n", "x".repeat(length));
        assert!(decode(policy, body(most - 1).as_bytes(), 999).is_ok());
        let error = decode(policy, body(most).as_bytes(), 999);
        assert_eq!(error, Err(ChunkError::LongExtensions));
        let trailers = format!("0\r\n{}", "A: b\r\n".repeat(most));
        assert_eq!(decode(policy, trailers.as_bytes(), 999), Err(ChunkError::LongTrailers));
    }
    let zeros = "0".repeat(1 << 20);
    assert_eq!(decode(Policy::Lenient, zeros.as_bytes(), 999), Err(ChunkError::LongExtensions));
}

#[test]
fn nothing_is_read_beyond_the_end() {
    let mut decoder = Decoder::new(Policy::Strict);
    let input = b"1\r\na\r\n0\r\n\r\nnext";
    assert_eq!(decoder.decode(input), Ok(Decoded { framing: 3, data: 1, end: false }));
    assert_eq!(decoder.decode(&input[4..]), Ok(Decoded { framing: 7, data: 0, end: true }));
    assert_eq!(decoder.decode(b"next"), Ok(Decoded { framing: 0, data: 0, end: true }));
}

#[test]
fn sizes_are_written_as_nginx_does() {
    let text = |length| String::from_utf8(ChunkSize::of(length).as_bytes().to_vec()).unwrap();
    assert_eq!(text(0), "0\r\n");
    assert_eq!(text(10), "a\r\n");
    assert_eq!(text(65_536), "10000\r\n");
    assert_eq!(text(usize::MAX), "ffffffffffffffff\r\n");
    assert_eq!((wire_length(0), wire_length(8), wire_length(16)), (0, 13, 22));
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8),
        step in 1usize..64,
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            let before = wire.len();
            append_chunk(&mut wire, chunk);
            prop_assert_eq!(wire.len() - before, wire_length(chunk.len()));
        }
        wire.extend_from_slice(LAST_CHUNK);
        wire.extend_from_slice(b"rest");
        for policy in [Policy::Strict, Policy::Lenient] {
            let (body, rest) = decode(policy, &wire, step).unwrap();
            prop_assert_eq!(&body, &chunks.concat());
            prop_assert_eq!(&rest, b"rest");
        }
    }

    #[test]
    fn any_split_of_any_bytes_gives_the_same(
        input in "[0-3a;\r\n :A]{0,40}",
        step in 1usize..40,
    ) {
        for policy in [Policy::Strict, Policy::Lenient] {
            let whole = decode(policy, input.as_bytes(), input.len().max(1));
            prop_assert_eq!(decode(policy, input.as_bytes(), step), whole);
        }
    }

    #[test]
    fn what_is_strict_is_lenient(input in "[0-2a;\r\n :A]{0,30}") {
        if let Ok(strict) = decode(Policy::Strict, input.as_bytes(), 7) {
            prop_assert_eq!(decode(Policy::Lenient, input.as_bytes(), 7), Ok(strict));
        }
    }
}
