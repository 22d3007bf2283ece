//! Whole configurations, and what golden files cannot show.

use super::*;
use crate::config::diagnostic::Severity;
use proptest::prelude::*;

#[test]
fn a_file_with_globals_and_includes_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("conf")).unwrap();
    write("conf/nginx.conf", "events { }\ninclude http.conf;\n");
    write("conf/http.conf", "http { server { listen 8080; } }\n");
    let path = Path::new("conf/nginx.conf");
    let loaded = load(path, folder.path(), Some("daemon on; pid a.pid;")).unwrap();
    assert_eq!(loaded.model.main.daemon, Some(true));
    assert_eq!(loaded.model.http.unwrap().servers[0].listen[0].address, "0.0.0.0:8080");
    let names: Vec<_> = loaded.files.iter().map(|it| it.0.file_name().unwrap()).collect();
    assert_eq!(names, ["nginx.conf", "http.conf"]);

    let faults = load(path, folder.path(), Some("daemon on")).unwrap_err().to_string();
    assert_eq!(faults, "command line:1: unexpected end of parameter, expecting \";\"\n");
    let faults = load(path, folder.path(), Some("http { }")).unwrap_err().to_string();
    assert!(faults.contains("block directives are not supported in -g option"));
    let faults = load(Path::new("gone.conf"), folder.path(), None).unwrap_err().to_string();
    let expected = "gone.conf\" failed (2: No such file or directory)\n";
    assert!(faults.starts_with("moongate: open() \"") && faults.ends_with(expected), "{faults}");
}

#[test]
fn without_a_folder_no_file_is_read() {
    let faults = load_text("t", "events { }\ninclude /etc/passwd;", None).unwrap_err();
    assert_eq!(faults.to_string(), "t:2: \"include\" is not possible in a text without a folder\n");
}

#[test]
fn a_server_without_listen_has_nginx_s_default() {
    let loaded = load_text("t", "events { } http { server { } }", None).unwrap();
    let listen = &loaded.model.http.unwrap().servers[0].listen;
    assert!(matches!(listen[0].address.as_str(), "0.0.0.0:80" | "0.0.0.0:8000"));
    assert_eq!(loaded.files[0].0, Path::new("t"));
}

#[test]
fn json_is_checked_as_text_is() {
    let fault = |json: &str| from_json(json).unwrap_err().to_string();
    assert!(fault(r#"{"events": {}, "htp": {}}"#).contains("unknown field `htp`"));
    assert!(fault("{\n\"main\": 1}").starts_with("json:2: invalid type"));
    assert!(fault("{}").starts_with("no \"events\" section"));
    let server = |inside: &str| {
        fault(&format!(r#"{{"events": {{}}, "http": {{"servers": [{{{inside}}}]}}}}"#))
    };
    assert_eq!(
        server(r#""listen": [{"at": "x:3", "address": "81"}]"#),
        "x:3: \"81\" must be written \"0.0.0.0:81\"\n"
    );
    let location = r#""locations": [{"matches": {"prefix": "/"}, "settings": {},
        "proxy_pass": {"url": "ftp://a"}}]"#;
    assert_eq!(
        server(location),
        "invalid URL prefix in \"ftp://a\"; it begins with http:// or https://\n"
    );
}

#[test]
fn the_wrapper_of_test_nginx_is_accepted() {
    let text = "worker_processes 1; daemon on; master_process off;
        error_log /r/logs/error.log debug; pid /r/logs/nginx.pid; env A_B; env X;
        http { access_log /r/logs/access.log;
        client_body_temp_path /r/a; proxy_temp_path /r/b; fastcgi_temp_path /r/c;
        scgi_temp_path /r/d; uwsgi_temp_path /r/e;
        default_type text/plain; keepalive_timeout 68000ms;
        server { listen 1984; server_name 'localhost'; client_max_body_size 30M;
        location / { root /r/html; index index.html index.htm; } } }
        events { accept_mutex off; worker_connections 64; } env Z; user root;";
    let loaded = load_text("nginx.conf", text, None).unwrap();
    assert!(loaded.diagnostics.0.iter().all(|it| it.severity == Severity::Notice));
    assert_eq!(loaded.model.main.env.len(), 3);
}

proptest! {
    #[test]
    fn no_text_makes_loading_panic(
        words in proptest::collection::vec(
            proptest::sample::select(
                directives()
                    .map(|it| it.name)
                    .chain(["{", "}", ";", "{", "}", ";", "$a", "on", "0", "~", "(", "/", "\"", ""])
                    .collect::<Vec<_>>(),
            ),
            0..60,
        ),
        within in proptest::sample::select(vec!["", "http {", "http { server {",
            "http { server { location / {", "http { upstream a {", "http { match a {"]),
    ) {
        let text = format!("events {{ }} {within} {}", words.join(" "));
        let closing = "}".repeat(within.matches('{').count());
        let _ = load_text("t", &text, None);
        if let Ok(loaded) = load_text("t", &format!("{text}; {closing}"), None) {
            prop_assert!(from_json(&to_json(&loaded.model)).is_ok());
        }
    }

    #[test]
    fn any_one_directive_with_any_words_is_judged(
        row in proptest::sample::select(directives().map(|it| it.name).collect::<Vec<_>>()),
        words in proptest::collection::vec("[$(){~!=/a0-9%.*:\\[\\]-]{0,6}", 0..4),
        within in proptest::sample::select(vec!["", "http {", "http { server {",
            "http { server { location / {", "http { upstream a {", "http { match a {"]),
    ) {
        let words: Vec<_> = words.iter().map(|it| format!("'{it}'")).collect();
        let closing = "}".repeat(within.matches('{').count());
        for end in [";", "{ }"] {
            let line = format!("{row} {}{end}", words.join(" "));
            let text = format!("events {{ }} {within} {line} {closing}");
            if let Ok(loaded) = load_text("t", &text, None) {
                let again = from_json(&to_json(&loaded.model));
                prop_assert!(again.as_ref() == Ok(&loaded.model), "{} {:?}", line, again);
            }
        }
    }
}
