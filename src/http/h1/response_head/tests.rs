//! Heads in every split, and what is none.

use super::*;
use proptest::prelude::*;

const LIMIT: usize = 4096;

/// Reads `input` in pieces of at most `step` bytes: the head, and what follows it.
fn read(input: &[u8], step: usize) -> Result<Option<(ReceivedHead, Vec<u8>)>, HeadError> {
    let mut reader = HeadReader::default();
    let mut buffer = BytesMut::new();
    for (index, piece) in input.chunks(step).enumerate() {
        buffer.extend_from_slice(piece);
        if let Some(head) = reader.read(&mut buffer, LIMIT)? {
            let behind = &input[(index * step + piece.len()).min(input.len())..];
            return Ok(Some((head, [&buffer, behind].concat())));
        }
    }
    Ok(None)
}

/// The status, what is known of the framing, `name=value` of all fields, and what follows.
fn show(head: &ReceivedHead) -> String {
    let mut text = format!("{} {:?}", head.status, head.reason().escape_ascii().to_string());
    if let Some(length) = head.content_length {
        text += &format!(" length={length}");
    }
    text += if head.chunked { " chunked" } else { "" };
    text += if head.closes { " closes" } else { "" };
    for field in head.fields() {
        text += &format!(" {}={}", field.name().escape_ascii(), field.value().escape_ascii());
    }
    text
}

#[track_caller]
fn check(input: &str, expected: &str) {
    for step in 1..=input.len() {
        let (head, rest) = read(input.as_bytes(), step).unwrap().expect("it is whole");
        assert_eq!(show(&head), expected, "{input:?} {step}");
        assert_eq!(head.wire_length() + rest.len(), input.len());
        assert!(rest.is_empty() || rest == b"body", "{rest:?}");
    }
}

#[track_caller]
fn refuse(input: &str, expected: HeadError) {
    for step in 1..=input.len() {
        assert_eq!(read(input.as_bytes(), step).err(), Some(expected), "{input:?} {step}");
    }
}

#[test]
fn heads_that_nginx_takes() {
    check("HTTP/1.1 200 OK\r\n\r\nbody", r#"200 "OK""#);
    check("HTTP/1.0 200\r\n\r\n", r#"200 "" closes"#);
    check("HTTP/1.1 404 Not  Found\nA:b\n\nbody", r#"404 "Not  Found" A=b"#);
    check("HTTP/1.1   200 \r\nA:  b c  \r\n\r\n", r#"200 "" A=b c"#);
    check("HTTP/1.1 200.1 IIS\r\n\r\n", r#"200 "1 IIS""#);
    check("HTTP/1.1 200 A\r\nContent-Length: 0\r\n\r\n", r#"200 "A" length=0 Content-Length=0"#);
    check(
        "HTTP/1.1 200 A\r\ntransfer-encoding: CHUNKED\r\nConnection: x, Close\r\n\r\nbody",
        r#"200 "A" chunked closes transfer-encoding=CHUNKED Connection=x, Close"#,
    );
    check("HTTP/1.1 200 A\r\nX_@y:\r\nNone\r\nB: \tc\r\r\n\r\n", r#"200 "A" X_@y= None= B=\tc"#);
    check("HTTP/1.1 200 A\r\nHTTP/1.1 200 OK\r\nA: b:c\r\n\r\n", r#"200 "A" A=b:c"#);
}

#[test]
fn what_is_no_head() {
    for input in ["garbage", "\r\n", "HTTP/1.1 2x0", "HTTP/x", "HTTP/1.1 20 0", "HTTP/111.1 "] {
        refuse(input, HeadError::StatusLine);
    }
    for input in ["HTTP/1.1 200O", "HTTP/1.1 200 O\rK", "HTTP/2 200 OK", "http/1.1 200"] {
        refuse(input, HeadError::StatusLine);
    }
    for line in [" fold: x", "A b: c", "A: b\0", "A: b\rc", ": x", "\tA: b", "A\x7f: b", "\rx"] {
        refuse(&format!("HTTP/1.1 200 OK\r\nX: y\r\n{line}\r\n\r\n"), HeadError::Line);
    }
}

#[test]
fn framings_that_two_readers_could_see_differently() {
    let refuse =
        |fields: &str, error| refuse(&format!("HTTP/1.1 200 A\r\n{fields}\r\n\r\n"), error);
    refuse("Content-Length: 1\r\ncontent-length: 1", HeadError::Duplicate);
    for length in ["", "-1", "+1", "1a", "0x1", "1, 1", "1234567890123456789"] {
        refuse(&format!("Content-Length: {length}"), HeadError::Length);
    }
    refuse("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", HeadError::Duplicate);
    refuse("Transfer-Encoding: chunked\r\nContent-Length: 1", HeadError::TwoFramings);
    refuse("Content-Length: 1\r\nTransfer-Encoding: chunked", HeadError::TwoFramings);
    for coding in ["gzip, chunked", "identity", "", "chunked, chunked", "xchunked"] {
        refuse(&format!("Transfer-Encoding: {coding}"), HeadError::Encoding);
    }
}

#[test]
fn a_head_fits_into_its_limit_or_is_too_big() {
    let head = |size: usize| {
        let start = "HTTP/1.1 200 OK\r\nA: ";
        format!("{start}{}\r\n\r\n", "x".repeat(size - start.len() - 4))
    };
    for step in [1000, 10_000] {
        assert!(read(head(LIMIT).as_bytes(), step).unwrap().is_some());
        assert_eq!(read(head(LIMIT + 1).as_bytes(), step).err(), Some(HeadError::TooBig));
        let endless = format!("HTTP/1.1 200 {}", "x".repeat(LIMIT));
        assert_eq!(read(endless.as_bytes(), step).err(), Some(HeadError::TooBig));
    }
}

#[test]
fn one_reader_reads_one_head_after_the_other() {
    let mut reader = HeadReader::default();
    let mut buffer = BytesMut::from("HTTP/1.1 100 C\r\nA: b\r\n\r\nHTTP/1.1 204 N\r\n\r\nrest");
    let first = reader.read(&mut buffer, LIMIT).unwrap().unwrap();
    let second = reader.read(&mut buffer, LIMIT).unwrap().unwrap();
    assert_eq!((show(&first), show(&second)), (r#"100 "C" A=b"#.into(), r#"204 "N""#.into()));
    assert_eq!(&buffer[..], b"rest");
}

#[test]
fn fields_are_found_by_meaning_and_as_variables() {
    let text = "HTTP/1.1 200 A\r\nX-B: 1\r\nx-b: 2\r\nLink: a\r\nlink: b\r\nLocation: /x\r\n\
                Keep-Alive: 5\r\nX-Accel-Redirect: /y\r\n\r\n";
    let (head, _) = read(text.as_bytes(), text.len()).unwrap().unwrap();
    assert_eq!(head.variable(b"x_b").unwrap(), &b"1"[..]);
    assert_eq!(head.variable(b"link").unwrap(), &b"a, b"[..]);
    assert_eq!(head.variable(b"cache_control"), None);
    assert_eq!(head.all(b"X-B").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(head.meant(Meaning::AccelRedirect).unwrap().value_bytes(), "/y");
    assert_eq!(head.meant(Meaning::HopByHop).unwrap().name_bytes(), "Keep-Alive");
    assert!(head.meant(Meaning::Refresh).is_none());
    assert_eq!(ReceivedHead::default().reason(), "");
}

proptest! {
    #[test]
    fn any_split_of_any_bytes_gives_the_same(
        tail in "[ab:/ \r\n\0\t]{0,30}",
        start in prop_oneof![Just("HTTP/1.1 200 OK"), Just("HTTP/1.1 20"), Just("")],
        step in 1usize..20,
    ) {
        let input = format!("{start}{tail}");
        let shown = |read: Result<Option<(ReceivedHead, Vec<u8>)>, HeadError>| {
            read.map(|it| it.map(|(head, rest)| (show(&head), rest)))
        };
        let whole = shown(read(input.as_bytes(), input.len().max(1)));
        prop_assert_eq!(shown(read(input.as_bytes(), step)), whole);
    }

    #[test]
    fn fields_that_were_written_are_read(
        fields in proptest::collection::vec(("[A-Za-z-]{1,20}", "[!-~]([ -~]{0,20}[!-~])?"), 0..20),
        step in 1usize..50,
    ) {
        let mut input = "HTTP/1.1 200 OK\r\n".to_owned();
        for (name, value) in &fields {
            input += &format!("X-{name}: {value}\r\n");
        }
        input += "\r\n";
        let (head, _) = read(input.as_bytes(), step).unwrap().unwrap();
        let read: Vec<_> = head
            .fields()
            .map(|it| {
                let text = |it: &[u8]| String::from_utf8(it.to_vec()).unwrap();
                (text(it.name())[2..].to_owned(), text(it.value()))
            })
            .collect();
        prop_assert_eq!(read, fields);
    }
}
