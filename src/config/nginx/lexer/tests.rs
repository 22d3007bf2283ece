//! The lexer against what nginx was seen to do.

use super::*;
use proptest::prelude::*;

fn words(text: &str) -> Vec<String> {
    let mut lexer = Lexer::new(text);
    let statement = lexer.statement();
    assert_eq!(lexer.faults, []);
    statement.words.into_iter().map(|it| it.text).collect()
}

#[track_caller]
fn fault(text: &str) -> (u32, String) {
    let mut lexer = Lexer::new(text);
    while lexer.statement().ending != Ending::End {}
    let first = lexer.faults.first().expect("a fault");
    (first.line, first.message.clone())
}

#[test]
fn quotes_and_escapes() {
    assert_eq!(words(r#"a "b c" 'd "e"' f\ g;"#), ["a", "b c", "d \"e\"", "f\\ g"]);
    assert_eq!(words(r#"a "\"\\\t\n\r\d";"#), ["a", "\"\\\t\n\r\\d"]);
    assert_eq!(words(r"a ^/x\.html$ \;b;"), ["a", r"^/x\.html$", r"\;b"]);
    assert_eq!(words("a '' \"\";"), ["a", "", ""]);
}

#[test]
fn variables_may_have_braces_and_quotes_may_stand_inside_words() {
    assert_eq!(words("a ${b}c$d{"), ["a", "${b}c$d"]);
    assert_eq!(words("a b\"c;"), ["a", "b\"c"]);
    assert_eq!(words("a \"${b}\" {"), ["a", "${b}"]);
}

#[test]
fn a_closing_parenthesis_may_follow_a_quote() {
    assert_eq!(words("if ($a = \"x y\") {"), ["if", "($a", "=", "x y", ")"]);
}

#[test]
fn comments_and_lines() {
    let mut lexer = Lexer::new("# one\n\na # two ; {\n  \"b\nc\"\n;d;");
    let first = lexer.statement();
    assert_eq!((first.words[0].line, first.words[1].line, first.line), (3, 4, 6));
    assert_eq!(first.words[1].text, "b\nc");
    assert_eq!(lexer.statement().words[0].line, 6);
    assert_eq!(words("\u{feff}a b#c;"), ["a", "b#c"]);
}

#[test]
fn faults_have_nginx_s_words() {
    assert_eq!(fault("a b"), (1, "unexpected end of file, expecting \";\" or \"}\"".into()));
    assert!(fault("a \"b;\n\n").1.ends_with("the \" opened on line 1 is not closed"));
    assert_eq!(fault(";"), (1, "unexpected \";\"".into()));
    assert_eq!(fault("{ }"), (1, "unexpected \"{\"".into()));
    assert!(fault("a \"b\"c;").1.starts_with("unexpected \"c\""));
    assert_eq!(fault("a b }").1, "unexpected \"}\"; is a \";\" missing after \"b\"?");
    let long = "x".repeat(5000);
    assert_eq!(fault(&format!("a {long};")).1, "too long parameter \"xxxxxxxxxx...\" started");
    assert_eq!(
        fault(&format!("\na '{long}")),
        (2, "too long parameter, probably missing terminating \"'\" character".into())
    );
}

proptest! {
    #[test]
    fn never_panics(text in "[a-z ;{}\"'\\\\$#()\n\u{e9}]{0,60}") {
        let mut lexer = Lexer::new(&text);
        let mut count = 0;
        while lexer.statement().ending != Ending::End {
            count += 1;
            prop_assert!(count <= text.len());
        }
        let mut lexer = Lexer::new(&text);
        lexer.statement();
        lexer.lua();
    }
}
