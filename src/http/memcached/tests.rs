//! Commands, and replies of memcached, good and bad.

use super::*;

fn read(command: Command, input: &str) -> Result<Option<Reply>, ReplyError> {
    Reply::read(command, b"k", input.as_bytes(), 64)
}

fn simple_reply(status: u16, body: u64) -> Result<Option<Reply>, ReplyError> {
    Ok(Some(Reply { status, head: 0, body, flags: None }))
}

#[test]
fn commands_have_names_and_methods_stand_for_some() {
    for (name, command) in NAMES {
        assert_eq!(Command::from_name(name.as_bytes()), Some(command));
        assert_eq!(command.name(), name);
    }
    assert_eq!(Command::from_name(b"GET"), None);
    assert_eq!(Command::of_method(b"PUT"), Some(Command::Set));
    assert_eq!(Command::of_method(b"PATCH"), None);
}

#[test]
fn a_value_says_its_flags_and_its_length() {
    let wanted = Reply { status: 200, head: 14, body: 5, flags: Some(b"32"[..].into()) };
    assert_eq!(read(Command::Get, "VALUE k 32 5\r"), Ok(None));
    let found = read(Command::Get, "VALUE k 32 5\r\nhello");
    assert_eq!(found, Ok(Some(wanted)));
    let none = Reply { status: 404, head: 5, body: 0, flags: None };
    assert_eq!(read(Command::Get, "END\r\n"), Ok(Some(none)));
}

#[test]
fn what_is_no_value_is_refused() {
    let error = |text: &str| read(Command::Get, text).expect_err(text).to_string();
    let of_other = "memcached sent invalid key in response \"VALUE x 0 1\" for key \"k\"";
    assert_eq!(error("VALUE x 0 1\r\n"), of_other);
    let no_length = "memcached sent invalid length in response \"VALUE k 0 x\" for key \"k\"";
    assert_eq!(error("VALUE k 0 x\r\n"), no_length);
    for text in ["VALUE k\r\n", "VALUE k 0\r\n", "VALUE kk 0 1\r\n", "HTTP/1.1 200 OK\r\n"] {
        let wanted = format!("memcached sent invalid response: \"{}\"", text.trim_end());
        assert_eq!(error(text), wanted);
    }
    assert_eq!(read(Command::Get, &"x".repeat(64)), Err(ReplyError::TooBig));
}

#[test]
fn other_replies_are_their_own_body() {
    assert_eq!(read(Command::Set, "STORED\r\n"), simple_reply(201, 8));
    assert_eq!(read(Command::Add, "NOT_STORED\r\n"), simple_reply(200, 12));
    assert_eq!(read(Command::Delete, "DELETED\r\n"), simple_reply(200, 9));
    assert_eq!(read(Command::FlushAll, "OK\r\n"), simple_reply(200, 4));
    assert_eq!(read(Command::Incr, "12 \r\n"), simple_reply(201, 5));
    assert_eq!(read(Command::Version, "VERSION 1.6\r\n"), simple_reply(200, 13));
    assert_eq!(read(Command::Set, "SERVER_ERROR full\r\n"), simple_reply(502, 19));
    let stats = "STAT pid 1\r\nSTAT up 2\r\n";
    assert_eq!(read(Command::Stats, stats), Ok(None));
    assert_eq!(read(Command::Stats, &format!("{stats}END\r\n")), simple_reply(200, 28));
    let none = Reply { status: 404, head: 11, body: 0, flags: None };
    assert_eq!(read(Command::Decr, "NOT_FOUND\r\n"), Ok(Some(none)));
    for (command, text) in [(Command::Set, "DELETED\r\n"), (Command::Incr, "x\r\n")] {
        assert!(read(command, text).is_err(), "{text}");
    }
}
