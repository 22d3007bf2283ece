//! Tests of `ngx.re`'s patterns; the texts are lua-nginx-module 0.10.23's on PCRE 8.39.

use super::*;

fn outcome(pattern: &str, letters: &str, subject: &[u8]) -> String {
    let options = Options::parse(letters.as_bytes()).unwrap();
    let program = match Program::compile(pattern.as_bytes(), options, 0) {
        Ok(program) => program,
        Err(error) => return error.to_string(),
    };
    let mut captures = Captures::new();
    match program.exec(subject, 0, &mut captures) {
        Ok(true) => {
            let (start, end) = captures.get(0).unwrap();
            format!("match {}", subject[start..end].escape_ascii())
        }
        Ok(false) => "nil".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn complaints_are_pcre1_s() {
    let mut wrong = Vec::new();
    for line in include_str!("complaints.txt").lines().filter(|it| !it.starts_with('#')) {
        let (pattern, want) = line.split_once(" => ").unwrap();
        let got = outcome(pattern, "", b"abc");
        if got != want {
            wrong.push(format!("{got}\n  want {want}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_pcre1_took_is_taken() {
    let cases = [
        ("\\y", "", "y", "match y"),
        ("[\\w-.]+", "", "a-.", "match a-."),
        ("[\\d-z]+", "", "1-z", "match 1-z"),
        ("[a\\s-_.\\w-@]+\\y", "", "-a@y", "match -a@y"),
    ];
    for (pattern, letters, subject, want) in cases {
        assert_eq!(outcome(pattern, letters, subject.as_bytes()), want, "{pattern}");
    }
}

#[test]
fn options_do_what_they_do_there() {
    let cases: &[(&str, &str, &[u8], &str)] = &[
        ("A", "i", b"a", "match a"),
        ("a$", "m", b"a\nb", "match a"),
        ("a$", "", b"a\n", "match a"),
        ("a.b", "s", b"a\nb", "match a\\nb"),
        ("a b # c", "x", b"ab", "match ab"),
        ("b", "a", b"ab", "nil"),
        (".", "u", "\u{e4}".as_bytes(), "match \\xc3\\xa4"),
        ("a", "u", b"\xff", "pcre_exec() failed: -10"),
        ("a", "U", b"\xffa", "match a"),
        ("a[]", "J", b"a", "nil"),
        ("\\u0041", "J", b"A", "match A"),
        ("(a)?\\1b", "J", b"b", "match b"),
        ("(a)?\\1b", "", b"b", "nil"),
        ("a|ab", "d", b"ab", "match ab"),
        ("(?<a>x)|(?<a>y)", "D", b"y", "match y"),
    ];
    for &(pattern, letters, subject, want) in cases {
        assert_eq!(outcome(pattern, letters, subject), want, "{pattern} {letters}");
    }
}

#[test]
fn positions_and_limits() {
    let program = Program::compile(b".", Options::parse(b"u").unwrap(), 0).unwrap();
    let mut captures = Captures::new();
    assert_eq!(program.exec("\u{e4}".as_bytes(), 1, &mut captures), Err(ExecError(-11)));
    assert_eq!(program.exec(b"a", 2, &mut captures), Err(ExecError(-24)));
    let slow = Program::compile(b"(?:a+)+[xy]", Options::default(), 100).unwrap();
    assert_eq!(slow.exec(&[b'a'; 30], 0, &mut captures), Err(ExecError(-8)));
}

#[test]
fn a_complaint_has_an_end() {
    let text = outcome(&format!("({}", "ä".repeat(200)), "", b"");
    assert!(text.len() <= MAX_ERROR && text.starts_with("pcre_compile() failed: missing )"));
}
