//! What the words take.

use super::*;
use clap::Parser;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    rollout: Rollout,
}

fn parse(line: &str) -> Result<Rollout, String> {
    let words = std::iter::once("rollout").chain(line.split_whitespace());
    Line::try_parse_from(words).map(|it| it.rollout).map_err(|it| it.to_string())
}

#[test]
fn words_take_a_name_and_letters_anywhere() {
    let one = parse("status api -c a.conf --json").unwrap();
    assert_eq!(one.config.as_deref(), Some(std::path::Path::new("a.conf")));
    assert!(one.json && one.word == Word::Status { name: Some("api".to_owned()) });
    assert_eq!(parse("-p /srv promote api").unwrap().word, Word::Promote { name: "api".into() });
    assert!(parse("promote").is_err() && parse("halt api").is_err() && parse("").is_err());
    let admin = parse("list --admin 127.0.0.1:9999").unwrap().admin;
    assert_eq!(admin, Some("127.0.0.1:9999".parse().unwrap()));
}

#[test]
fn weights_are_shares() {
    let weight = |text: &str| match parse(&format!("set-weight api {text}"))?.word {
        Word::SetWeight { weight, .. } => Ok(weight),
        other => Err(format!("{other:?}")),
    };
    assert_eq!(weight("10%"), Ok(1000));
    assert_eq!(weight("25bp"), Ok(25));
    assert_eq!(weight("0%"), Ok(0));
    let error = weight("10").unwrap_err();
    assert!(error.contains("write 0% to 100%, or 25bp"), "{error}");
}
