//! The same configuration and the same requests on Moongate and on nginx with lua-nginx-module:
//! what the client gets and what the origins are sent must be equal to the byte.
//!
//! The cases are the `.case` files beside this one (`case.rs` tells how they are written), what may
//! differ is in `exceptions.txt`, each with its reason.
//!
//! - `MOONGATE_CASE=TEXT` runs the cases whose name or file contains the text;
//! - `MOONGATE_SHOW=1` prints what nginx did, for those who write cases;
//! - `MOONGATE_TEST_BINARY=nginx` puts nginx on both sides, to try the cases themselves.

mod case;
mod exceptions;
mod exchange;
#[expect(dead_code, reason = "the integration tests need more of it")]
#[path = "../it/harness/mod.rs"]
mod harness;

use case::Case;
use exceptions::Exceptions;
use exchange::Link;
use harness::server::Kind;
use moongate::config::diagnostic::Diagnostics;
use moongate::log::ErrorLog;
use moongate::snapshot::build::Inputs;
use moongate::upstream::registry::Registry;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{env, fs, thread};

/// Cases at once: a server that starts waits more than it computes.
const THREADS: usize = 4;

#[test]
fn moongate_answers_as_nginx_does() {
    compare(Link::Plain, |_| true);
}

#[test]
fn moongate_answers_over_tls_as_nginx_does() {
    compare(Link::Tls, Case::may_be_tls);
}

/// Runs all cases that `is_wanted` on both sides.
fn compare(link: Link, is_wanted: impl Fn(&Case) -> bool) {
    let exceptions = Exceptions::read(&folder().join("exceptions.txt"));
    let wanted = env::var("MOONGATE_CASE").unwrap_or_default();
    let mut cases = all_cases();
    exceptions.check_names(&cases);
    cases.retain(|it| is_wanted(it) && (it.name.contains(&wanted) || it.file.contains(&wanted)));
    let verdicts = in_parallel(&cases, |case| judge(case, &exceptions, link));
    let mut report = String::new();
    let mut failed = Vec::new();
    let mut excepted = 0;
    for (case, verdict) in cases.iter().zip(verdicts) {
        let known = exceptions.reason(&case.name, link);
        match (verdict, known) {
            (Ok(()), None) => {}
            (Err(_), Some(_)) => excepted += 1,
            (Ok(()), Some(_)) => failed.push((case, "agrees now: remove its exception".into())),
            (Err(difference), None) => failed.push((case, difference)),
        }
    }
    for (case, difference) in &failed {
        let _ = writeln!(report, "=== {} ({}:{})\n{difference}", case.name, case.file, case.line);
    }
    let passed = cases.len() - failed.len() - excepted;
    println!("{report}{passed} passed, {} failed, {excepted} excepted", failed.len());
    let names: Vec<&str> = failed.iter().map(|(case, _)| case.name.as_str()).collect();
    assert!(failed.is_empty(), "{passed} passed, {} failed: {names:#?}", failed.len());
    // A name may be that of cases without TLS alone.
    let is_some = !cases.is_empty() || (link == Link::Tls && !wanted.is_empty());
    assert!(is_some, "no case is named {wanted:?}");
}

/// The directives of the cases are all known, in their places, with their arguments: this fails in
/// milliseconds and says where.
#[test]
fn configurations_of_the_cases_load() {
    let mut faults = String::new();
    let prefix = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(prefix.path().join("logs")).expect("a folder in it");
    for case in all_cases().iter().filter(|it| !it.refused) {
        let text = exchange::conf(case, Kind::Moongate, Link::Plain);
        let text = harness::server::with_names(&text, |name| match name {
            name if name.starts_with("PORT") => Some(name.replace("PORT", "808")),
            name if name.starts_with("ORIGIN") || name == "DEAD" => Some("127.0.0.1:8081".into()),
            "PREFIX" => Some("/nowhere".into()),
            _ => None,
        });
        if let Err(diagnostics) = load(&case.name, &text, prefix.path()) {
            let _ = write!(faults, "{diagnostics}");
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

/// Loads a configuration and compiles it, but for its Lua.
fn load(name: &str, text: &str, prefix: &Path) -> Result<(), Diagnostics> {
    let loaded = moongate::config::load_text(name, text, None)?;
    let addresses = [("localhost".to_owned(), [IpAddr::V4(Ipv4Addr::LOCALHOST)].into())];
    moongate::snapshot::build::build(&Inputs {
        model: Arc::new(loaded.model),
        prefix,
        base: prefix,
        generation: 1,
        upstreams: &Registry::new(),
        rollouts: &Default::default(),
        limits: &Default::default(),
        addresses: &addresses.into(),
        error_log: ErrorLog::silent(),
        compile: &|_| Ok(()),
    })
    .map(drop)
}

/// Runs a case on both sides; what differs is an error, as text.
fn judge(case: &Case, exceptions: &Exceptions, link: Link) -> Result<(), String> {
    let sides = exchange::Origins::start(case);
    let began = std::time::Instant::now();
    let nginx = exceptions.mask(&exchange::run(case, &sides, Kind::Nginx, link).text);
    if env::var_os("MOONGATE_SHOW").is_some() {
        let took = began.elapsed().as_millis();
        println!("=== {} ({}:{}, {took} ms)\n{nginx}\n", case.name, case.file, case.line);
    }
    if nginx.contains("did not start") && !case.refused || nginx.contains("= error.log has no") {
        return Err(format!("nginx {nginx}"));
    }
    let record = exchange::run(case, &sides, Kind::Moongate, link);
    let moongate = exceptions.mask(&record.text);
    if case.refused {
        let both = nginx.contains("did not start") && moongate.contains("did not start");
        return both.then_some(()).ok_or(format!("nginx: {nginx}\nmoongate: {moongate}"));
    }
    if nginx == moongate {
        return Ok(());
    }
    if moongate.starts_with("did not start") {
        return Err(format!("+ {moongate}"));
    }
    let errors = if record.errors.is_empty() { "" } else { "moongate logged:\n" };
    Err(format!("{}{errors}{}", difference(&nginx, &moongate), record.errors))
}

/// Lines in the manner of `diff`: `-` is nginx's, `+` Moongate's.
fn difference(nginx: &str, moongate: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (nginx.lines().collect(), moongate.lines().collect());
    let mut common = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = if a[i] == b[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < a.len() || j < b.len() {
        let (mark, line) = if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
            (' ', a[i - 1])
        } else if i < a.len() && (j == b.len() || common[i + 1][j] >= common[i][j + 1]) {
            i += 1;
            ('-', a[i - 1])
        } else {
            j += 1;
            ('+', b[j - 1])
        };
        let _ = writeln!(text, "{mark} {line}");
    }
    text
}

fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS.min(items.len()) {
            scope.spawn(|| {
                while let Some((index, item)) = {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    items.get(index).map(|it| (index, it))
                } {
                    let result = work(item);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn all_cases() -> Vec<Case> {
    let files = fs::read_dir(folder()).expect("the folder of the cases").flatten();
    let mut paths: Vec<_> = files.map(|it| it.path()).collect();
    paths.retain(|it| it.extension().is_some_and(|it| it == "case"));
    paths.sort();
    let cases: Vec<Case> = paths
        .iter()
        .flat_map(|path| {
            let text = fs::read_to_string(path).expect("cases are UTF-8");
            case::parse(&path.file_name().unwrap_or_default().to_string_lossy(), &text)
        })
        .collect();
    let mut names: Vec<&str> = cases.iter().map(|it| it.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|it| it[0] == it[1]) {
        panic!("two cases are called {:?}", twice[0]);
    }
    cases
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential"))
}
