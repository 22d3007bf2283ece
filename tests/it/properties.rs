//! Text that nobody would write: the readers of configurations and targets answer, never panic.

use bytes::Bytes;
use moongate::config::load_text;
use moongate::http::uri;
use proptest::prelude::*;

/// Pieces of the language, so that random texts get past the lexer.
fn piece() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "http",
        "server",
        "location",
        "events",
        "listen",
        "127.0.0.1:80",
        "return",
        "200",
        "set",
        "$x",
        "${x",
        "if",
        "($a",
        "= b)",
        "~ (",
        "map",
        "default",
        "upstream",
        "proxy_pass",
        "http://a",
        "content_by_lua_block",
        "access_by_lua",
        "{",
        "}",
        ";",
        "\"",
        "'",
        "#",
        "\\",
        "\n",
        " ",
        "--[[",
        "]]",
        "[==[",
        "]==]",
        "--",
        "include",
        "*",
        "rewrite",
        "^/(.*)$",
        "last",
        "split_clients",
        "1%",
        "error_page",
        "404",
        "=",
        "@x",
        "log_format",
        "health_check",
        "\u{0}",
    ]);
    prop_oneof![4 => words.prop_map(str::to_owned), 1 => "\\PC{0,6}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_as_a_configuration(pieces in prop::collection::vec(piece(), 0..60)) {
        let text = pieces.join(" ");
        match load_text("x.conf", &text, None) {
            Ok(loaded) => {
                let json = moongate::config::to_json(&loaded.model);
                let again = moongate::config::from_json(&json);
                prop_assert!(again.is_ok_and(|it| it == loaded.model), "{}", json);
            }
            Err(diagnostics) => {
                let lines = text.lines().count().max(1);
                for one in &diagnostics.0 {
                    prop_assert!(one.at.line as usize <= lines + 1, "{one} of {lines} lines");
                    prop_assert!(!one.message.is_empty());
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_read_as_a_target(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = uri::parse(&Bytes::from(bytes), true);
    }

    #[test]
    fn a_normalised_path_stays_below_the_root(path in "(/|\\.|%2[eEfF]|a|%61|//|\\.\\.){0,12}") {
        let target = Bytes::from(format!("/{path}"));
        if let Ok(target) = uri::parse(&target, true) {
            let path: &[u8] = target.path.as_ref();
            prop_assert!(path.starts_with(b"/"));
            let segments: Vec<&[u8]> = path.split(|it| *it == b'/').collect();
            prop_assert!(!segments.contains(&b"..".as_slice()) && !segments.contains(&b".".as_slice()));
            prop_assert!(!path.windows(2).any(|it| it == b"//"));
        }
    }
}
