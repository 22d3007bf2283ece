//! Tests of the request target; the expected values are nginx 1.22.1's `$uri`, `$args` and
//! `$request_uri`.

use super::*;
use proptest::prelude::*;

fn show(target: &str, merge_slashes: bool) -> String {
    match parse(&Bytes::copy_from_slice(target.as_bytes()), merge_slashes) {
        Err(_) => "400".to_owned(),
        Ok(it) => {
            let text = |bytes: &Bytes| bytes.escape_ascii().to_string();
            let args = it.args.as_ref().map(text).unwrap_or_default();
            format!("{}|{}|{}", text(&it.path), args, text(&it.unparsed))
        }
    }
}

#[test]
fn targets_mean_what_nginx_takes_them_for() {
    for line in include_str!("targets.txt").lines().filter(|it| !it.starts_with('#')) {
        let (target, want) = line.split_once(" -> ").unwrap();
        assert_eq!(show(target, true), want, "{target}");
    }
}

#[test]
fn slashes_are_merged_on_request_only() {
    assert_eq!(show("//a///b//", false), "//a///b//||//a///b//");
    assert_eq!(show("//a//../b", false), "//a/b||//a//../b");
    assert_eq!(show("//..", false), "/||//..");
    assert_eq!(show("//../..", false), "400");
}

#[test]
fn the_absolute_form_names_the_host() {
    let parsed =
        |target: &'static str| parse(&Bytes::from_static(target.as_bytes()), true).unwrap();
    assert_eq!(parsed("http://Ex.org:80/a?b").host.unwrap(), "Ex.org");
    assert_eq!(parsed("http://[::1]:80/").host.unwrap(), "[::1]");
    assert_eq!(parsed("/a").host, None);
    assert!(parsed("http://h").is_unparsed_valid && !parsed("http://h?x").is_unparsed_valid);
    assert_eq!((parsed("/a?").args, parsed("/a").args), (Some(Bytes::new()), None));
}

#[test]
fn a_plain_path_is_not_copied() {
    let target = Bytes::from_static(b"/a/b.html?c=d");
    let parsed = parse(&target, true).unwrap();
    assert_eq!(parsed.path.as_ptr(), target.as_ptr());
}

#[test]
fn control_characters_are_refused() {
    for byte in (0..=b' ').chain([0x7f]) {
        let target = Bytes::from(vec![b'/', b'a', byte]);
        assert_eq!(parse(&target, true), Err(Error::Syntax));
    }
    assert!(parse(&Bytes::from_static(b"/\xe4?\xff"), true).is_ok());
}

#[test]
fn extensions() {
    let cases = [
        ("/a.html", "html"),
        ("/a.b.c", "c"),
        ("/.htaccess", ""),
        ("/a.b/c", ""),
        ("/a.", ""),
        ("/x/.a.b", "b"),
        ("/", ""),
    ];
    for (path, want) in cases {
        assert_eq!(extension(path.as_bytes()), want.as_bytes(), "{path}");
    }
}

#[test]
fn unsafe_uris_are_refused() {
    let parsed = |uri: &'static str| {
        parse_unsafe(&Bytes::from_static(uri.as_bytes()))
            .map(|(path, args)| (path, args.unwrap_or_default()))
    };
    let both = |path: &'static str, args: &'static str| Some((path.into(), args.into()));
    assert_eq!(parsed("/a%20b//c?d=%20?"), both("/a b//c", "d=%20?"));
    assert_eq!(parsed("a/..b/c../..."), both("a/..b/c../...", ""));
    for uri in ["", "?a", "..", "../a", "/a/../b", "/a/..", "/%2e%2e/a", "/a%00", "/..?a"] {
        assert_eq!(parsed(uri), None, "{uri}");
    }
}

proptest! {
    #[test]
    fn normal_forms_are_stable(path in "(/|[a-c.]|%2[EeFf]){0,12}", merge in any::<bool>()) {
        let target = Bytes::from(format!("/{path}"));
        if let Ok(first) = parse(&target, merge) {
            prop_assert!(first.path.starts_with(b"/"));
            let again = parse(&first.path, merge).unwrap();
            prop_assert_eq!(again.path, first.path);
        }
    }
}
