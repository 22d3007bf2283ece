//! nginx's letters: `-t -T -v -V -s -g`, the pid file, `daemon on`, and `adapt`.

use crate::harness::client::get;
use crate::harness::server::{Kind, Setup, binary, gateway};
use crate::harness::{eventually, settles};
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Output};

const FINE: &str = "http { server { listen 127.0.0.1:$PORT; return 200 fine; } }";

fn run(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let text = [stdout, stderr].concat();
    (status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_test_of_a_good_configuration_succeeds() {
    let mut setup = Setup::new(Kind::Moongate);
    let mut command = setup.command(FINE);
    command.arg("-t");
    let (code, said) = run(command);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("moongate.conf syntax is ok"), "{said}");
    assert!(said.contains("moongate.conf test is successful"), "{said}");
}

#[test]
fn a_test_of_a_bad_configuration_fails() {
    let mut setup = Setup::new(Kind::Moongate);
    let mut command = setup.command("http { server {\n lissen 1; } }");
    command.arg("-t");
    let (code, said) = run(command);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("moongate.conf:2:"), "{said}");
    assert!(said.contains("test failed"), "{said}");
}

#[test]
fn a_test_does_not_bind() {
    let running = gateway(FINE);
    let mut setup = Setup::new(Kind::Moongate).with("TAKEN", running.port());
    let mut command = setup.command("http { server { listen 127.0.0.1:$TAKEN; return 200 x; } }");
    command.arg("-t");
    let (code, said) = run(command);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn the_whole_configuration_is_printed() {
    let mut setup = Setup::new(Kind::Moongate).file("conf/part.conf", "default_type text/x;\n");
    let mut command = setup.command(
        "http { include part.conf;\n server { listen 127.0.0.1:$PORT; return 200 fine; } }",
    );
    command.arg("-T");
    let (code, said) = run(command);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("# configuration file "), "{said}");
    assert!(said.contains("include part.conf;"), "{said}");
    assert!(said.contains("default_type text/x;"), "{said}");
}

#[test]
fn versions_are_told() {
    let mut command = Command::new(binary());
    command.arg("-v");
    let (code, said) = run(command);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("moongate/{version}")), "{said}");

    let mut command = Command::new(binary());
    command.arg("-V");
    let (code, said) = run(command);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("moongate/{version} (nginx/1.22.1)")), "{said}");
    assert!(said.contains("built with OpenSSL"), "{said}");
}

#[test]
fn an_unknown_letter_is_refused() {
    let mut command = Command::new(binary());
    command.arg("-X");
    let (code, said) = run(command);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("-X"), "{said}");
}

#[test]
fn signals_reach_the_process_of_the_pid_file() {
    for (signal, is_graceful) in [("stop", false), ("quit", true)] {
        let mut server = gateway(FINE);
        settles("the pid file", server.pid().to_string(), || {
            server.read("logs/pid").trim().to_owned()
        });
        let mut command = Command::new(binary());
        command.arg("-p").arg(server.prefix()).args(["-s", signal]);
        let (code, said) = run(command);
        assert_eq!(code, Some(0), "{said}");
        assert!(server.wait().success(), "-s {signal}, graceful: {is_graceful}");
        assert!(!server.prefix().join("logs/pid").exists(), "the pid file is left");
    }
}

#[test]
fn a_signal_to_nobody_is_told() {
    let mut setup = Setup::new(Kind::Moongate);
    let mut command = setup.command(FINE);
    command.args(["-s", "reload"]);
    let (code, said) = run(command);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("logs/pid"), "{said}");
}

#[test]
fn directives_may_come_from_the_command_line() {
    let mut setup = Setup::new(Kind::Moongate);
    let mut command = setup.command(FINE);
    command.args(["-t", "-g", "worker_processes none;"]);
    let (code, said) = run(command);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("command line"), "{said}");
    assert!(said.contains("worker_processes"), "{said}");
}

#[test]
fn a_daemon_leaves_the_foreground_once_it_listens() {
    let mut setup = Setup::new(Kind::Moongate);
    let command = setup.command(&format!("daemon on; {FINE}"));
    let port = setup.port("PORT");
    let (code, said) = run(command);
    assert_eq!(code, Some(0), "{said}");
    let pid = fs::read_to_string(setup.prefix().join("logs/pid")).expect("the pid file is there");
    let text = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(|_| get(port, "/").text());
    let mut stop = Command::new(binary());
    stop.arg("-p").arg(setup.prefix()).args(["-s", "stop"]);
    let (code, said) = run(stop);
    assert_eq!(code, Some(0), "{said}");
    eventually("the daemon is gone", || {
        (!fs::exists(format!("/proc/{}", pid.trim())).unwrap_or(true)).then_some(())
    });
    assert_eq!(text.expect("it listened when its parent left"), "fine");
}

#[test]
fn a_configuration_is_adapted_to_json() {
    let mut setup = Setup::new(Kind::Moongate);
    let path = setup.conf(FINE);
    let mut command = Command::new(binary());
    command.arg("adapt").arg(path);
    let (code, said) = run(command);
    assert_eq!(code, Some(0), "{said}");
    let model = moongate::config::from_json(&said).expect("what it prints is a configuration");
    assert_eq!(model.http.expect("http is there").servers.len(), 1);
}
