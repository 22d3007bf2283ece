//! The configurations that ship: the default one shows a canary with no other program, and every
//! example starts.

use crate::harness::client::{get, request};
use crate::harness::ports;
use crate::harness::server::{Kind, Server, Setup};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Starts a file of `conf/` as it is, but for its ports, which become free ones.
#[track_caller]
fn start(path: &Path) -> (Server, BTreeMap<u16, u16>) {
    let text = fs::read_to_string(path).expect("it is there");
    let (text, ports) = with_free_ports(&text);
    let mut setup = Setup::new(Kind::Moongate);
    for (file, text) in files_beside() {
        let (text, _) = with_free_ports(&text);
        setup = setup.file(&file, &text);
    }
    // Those that it listens on are waited for; an example may name one that nobody answers at.
    let listens = |port: &u16| text.contains(&format!("listen 127.0.0.1:{port};"));
    for (index, port) in ports.values().filter(|it| listens(it)).enumerate() {
        setup = setup.with(&format!("PORT{index}"), port);
    }
    (setup.start(&text), ports)
}

/// `127.0.0.1:NNNN` and `listen NNNN` with free ports, the same one for the same number; ports
/// that are only talked of, in comments, are left.
fn with_free_ports(text: &str) -> (String, BTreeMap<u16, u16>) {
    let mut ports = BTreeMap::new();
    let mut result = String::new();
    for line in text.lines() {
        let comment = line.find("# ").unwrap_or(line.len());
        let mut line = line[..comment].to_owned();
        for marker in ["127.0.0.1:", "listen "] {
            let Some(at) = line.find(marker).map(|it| it + marker.len()) else { continue };
            let digits = line[at..].bytes().take_while(u8::is_ascii_digit).count();
            let is_address = line[at + digits..].starts_with('.');
            if let Some(port) = line[at..at + digits].parse().ok().filter(|_| !is_address) {
                let free: u16 = *ports.entry(port).or_insert_with(ports::free);
                line.replace_range(at..at + digits, &free.to_string());
            }
        }
        result.push_str(&line);
        result.push('\n');
    }
    (result, ports)
}

/// What a configuration may include or run: the other files of `conf/`, and `scripts/`.
fn files_beside() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for (folder, ending) in [("conf", "types"), ("scripts", "lua")] {
        for entry in fs::read_dir(root().join(folder)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(ending) {
                let text = fs::read_to_string(entry.path()).expect("it is text");
                files.push((format!("{folder}/{name}"), text));
            }
        }
    }
    files
}

#[test]
fn the_default_configuration_shows_a_canary() {
    let (_server, ports) = start(&root().join("conf/moongate.conf"));
    let port = *ports.get(&8000).or(ports.values().next()).expect("it listens somewhere");
    let stable = get(port, "/").text();
    let canary = request(port, "GET", "/", "X-Canary-Version: v2\r\n").text();
    assert_ne!(stable, canary);
    assert!(canary.contains("v2"), "{canary}");
    assert!(!stable.contains("v2"), "{stable}");
}

#[test]
fn every_example_starts() {
    let folder = root().join("conf/examples");
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("conf/examples is there").flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|it| it == "conf") {
            start(&path);
            count += 1;
        }
    }
    assert!(count > 0, "no example is in conf/examples");
}
