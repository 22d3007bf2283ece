//! Golden files: `tests/adapt/*.txt` hold an nginx.conf, a line `----------`, and what must come of
//! it: the model as JSON with its notices, or the diagnostics. `UPDATE_GOLDEN=1` rewrites them.

use moongate::config;
use moongate::config::diagnostic::{Diagnostics, Severity};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const BAR: &str = "\n----------\n";

#[test]
fn adapted_as_written_down() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut paths: Vec<_> = fs::read_dir("tests/adapt")
        .expect("tests/adapt is there")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|it| it == "txt"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 25, "only {} golden files", paths.len());
    let mut wrong = Vec::new();
    for path in paths {
        let golden = fs::read_to_string(&path).expect("a golden file is UTF-8");
        let (conf, expected) = golden.split_once(BAR).unwrap_or((golden.trim_end(), ""));
        let actual = adapt(conf);
        if actual == expected {
            continue;
        }
        if update {
            fs::write(&path, format!("{conf}{BAR}{actual}")).expect("tests/adapt is writable");
        } else {
            wrong.push(format!("{}\n{}", path.display(), difference(expected, &actual)));
        }
    }
    assert!(wrong.is_empty(), "{}\nUPDATE_GOLDEN=1 rewrites them", wrong.join("\n"));
}

/// What `-t` and `adapt` would show. A golden file speaks of `http` alone unless it begins with
/// `# whole`: `events { }` is added behind it.
fn adapt(conf: &str) -> String {
    let whole = conf.starts_with("# whole");
    let text = if whole { format!("{conf}\n") } else { format!("{conf}\nevents {{ }}\n") };
    match config::load_text("nginx.conf", &text, Some(Path::new("tests/adapt/files"))) {
        Err(diagnostics) => said(&diagnostics),
        Ok(loaded) => {
            let json = config::to_json(&loaded.model);
            let again = config::from_json(&json).expect("what was printed can be read");
            assert!(
                again == loaded.model,
                "JSON changed the model to\n{}",
                config::to_json(&again)
            );
            said(&loaded.diagnostics) + &json + "\n"
        }
    }
}

fn said(diagnostics: &Diagnostics) -> String {
    let mut text = String::new();
    for it in &diagnostics.0 {
        let severity = match it.severity {
            Severity::Fault => "fault",
            Severity::Alert => "alert",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
        };
        writeln!(text, "{severity} {it}").expect("a String takes everything");
    }
    text
}

fn difference(expected: &str, actual: &str) -> String {
    let mut text = String::new();
    let mut lines = expected.lines();
    for line in actual.lines() {
        match lines.next() {
            Some(other) if other == line => {}
            other => {
                writeln!(text, "  - {}\n  + {line}", other.unwrap_or("")).expect("a String");
            }
        }
    }
    lines.for_each(|line| writeln!(text, "  - {line}").expect("a String"));
    text
}
