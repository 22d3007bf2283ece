//! Patterns, groups, errors, and code that threads share.

use super::*;

fn compile(pattern: &str, flags: Flags, jit: bool) -> Code {
    Code::compile(pattern.as_bytes(), flags, jit).unwrap()
}

#[test]
fn groups_names_and_unset_groups() {
    for jit in [false, true] {
        let code = compile("(?<b>b)|(?<a>a)(x)?", Flags::default(), jit);
        assert_eq!(code.group_count(), 3);
        let names: Vec<_> = code.names().collect();
        assert_eq!(names, [(&b"a"[..], 2), (&b"b"[..], 1)]);
        let mut captures = Captures::new();
        assert_eq!(code.exec(b"za", 0, 0, &mut captures), Ok(true));
        assert_eq!((captures.get(0), captures.get(2)), (Some((1, 2)), Some((1, 2))));
        assert_eq!((captures.get(1), captures.get(3), captures.len()), (None, None, 3));
        assert_eq!(code.exec(b"za", 2, 0, &mut captures), Ok(false));
        assert!(captures.is_empty());
    }
}

#[test]
fn errors_are_numbers() {
    let error = Code::compile(b"(abc", Flags::default(), true).unwrap_err();
    assert_eq!((error.code, error.offset), (114, 4));
    assert_eq!(error.message(), "missing closing parenthesis");
    let code = compile("a", Flags { utf: true, ..Flags::default() }, true);
    let mut captures = Captures::new();
    assert!((-23..=-3).contains(&code.exec(b"\xff", 0, 0, &mut captures).unwrap_err()));
    assert_eq!(code.exec("ä".as_bytes(), 1, 0, &mut captures), Err(-36));
    assert_eq!(code.exec(b"a", 2, 0, &mut captures), Err(-33));
    let slow = compile("(?:a+)+[xy]", Flags::default(), false);
    assert_eq!(slow.exec(&[b'a'; 29], 0, 1000, &mut captures), Err(-47));
}

#[test]
fn broken_utf_is_safe_when_it_is_let_through() {
    let flags = Flags { utf: true, match_invalid_utf: true, ..Flags::default() };
    let code = compile(".", flags, true);
    let mut captures = Captures::new();
    assert_eq!(code.exec(b"\xe4\xffa", 0, 0, &mut captures), Ok(true));
    assert_eq!(captures.get(0), Some((2, 3)));
}

#[test]
fn dfa_finds_the_longest() {
    let code = compile("a|ab|abc", Flags::default(), false);
    let mut captures = Captures::new();
    assert_eq!(code.exec_dfa(b"xabcd", 0, &mut captures), Ok(true));
    assert_eq!((captures.get(0), captures.len()), (Some((1, 4)), 1));
    assert_eq!(code.exec_dfa(b"x", 0, &mut captures), Ok(false));
}

#[test]
fn more_groups_than_the_first_scratch_had_room_for() {
    let code = compile(&"(a)".repeat(100), Flags::default(), true);
    let mut captures = Captures::new();
    assert_eq!(code.exec(&[b'a'; 100], 0, 0, &mut captures), Ok(true));
    assert_eq!(captures.get(100), Some((99, 100)));
}

#[test]
fn code_is_shared_by_threads() {
    let code = compile("(b+)", Flags::default(), true);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut captures = Captures::new();
                for len in 1..500 {
                    let subject = [vec![b'a'; len], vec![b'b'; len]].concat();
                    assert_eq!(code.exec(&subject, 0, 0, &mut captures), Ok(true));
                    assert_eq!(captures.get(1), Some((len, 2 * len)));
                }
            });
        }
    });
}
