//! What keeps the gateway from starting: each with a message of its own, the file and the line, and
//! exit code 1; and what does not.

use crate::harness::client::get;
use crate::harness::ports;
use crate::harness::server::{Kind, Setup, gateway};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;

/// Starts `text`, which must be refused, and looks for each part of the message.
#[track_caller]
fn refuses(text: &str, message: &[&str]) {
    refused(Setup::new(Kind::Moongate), text, message);
}

#[track_caller]
fn refused(setup: Setup, text: &str, message: &[&str]) {
    let exit = setup.run_to_end(text);
    assert_eq!(exit.status.code(), Some(1), "{}", exit.said);
    for part in message {
        assert!(exit.said.contains(part), "{part:?} is not in:\n{}", exit.said);
    }
}

#[test]
fn a_typo_in_a_directive_is_named_with_what_was_meant() {
    refuses(
        "http {\n server {\n  listen 127.0.0.1:$PORT;\n  proxy_conect_timeout 1s;\n }\n}\n",
        &[
            "moongate.conf:4:",
            "unknown directive \"proxy_conect_timeout\"",
            "proxy_connect_timeout",
        ],
    );
}

#[test]
fn a_missing_brace_is_found() {
    refuses(
        "http {\n server {\n  listen 127.0.0.1:$PORT;\n }\n",
        &["moongate.conf:", "unexpected end of file", "\"}\""],
    );
}

#[test]
fn a_missing_semicolon_is_found() {
    refuses(
        "http {\n server {\n  listen 127.0.0.1:$PORT\n }\n}\n",
        &["moongate.conf:", "is a \";\" missing after"],
    );
}

#[test]
fn all_faults_are_told_at_once() {
    refuses(
        "http {\n server {\n  listen 127.0.0.1:$PORT;\n  lisen 1;\n  keepalive_timeout never;\n }\n}",
        &["moongate.conf:4:", "moongate.conf:5:"],
    );
}

#[test]
fn a_directive_in_the_wrong_place_is_named() {
    refuses(
        "http {\n proxy_pass http://127.0.0.1:1;\n server { listen 127.0.0.1:$PORT; }\n}",
        &["moongate.conf:2:", "\"proxy_pass\" directive is not allowed here"],
    );
}

#[test]
fn a_syntax_error_of_lua_is_refused_in_every_phase() {
    for directive in [
        "rewrite_by_lua_block",
        "access_by_lua_block",
        "content_by_lua_block",
        "header_filter_by_lua_block",
        "body_filter_by_lua_block",
        "log_by_lua_block",
        "set_by_lua_block $x",
    ] {
        let text = format!(
            "http {{\n server {{\n  listen 127.0.0.1:$PORT;\n  location / {{\n   set $x 1;\n   \
             {directive} {{\n    local = 1\n   }}\n  }}\n }}\n}}"
        );
        refuses(&text, &["moongate.conf:6", ":2:", "'<name>' expected near '='"]);
    }
}

#[test]
fn a_syntax_error_in_a_file_of_lua_is_refused() {
    let setup = Setup::new(Kind::Moongate).file("conf/bad.lua", "\nlocal x = = 1\n");
    refused(
        setup,
        "http { server { listen 127.0.0.1:$PORT;\n location / { content_by_lua_file conf/bad.lua; } } }",
        &["bad.lua:2:", "unexpected symbol near '='"],
    );
}

#[test]
fn a_missing_file_of_lua_is_refused() {
    refuses(
        "http { server { listen 127.0.0.1:$PORT;\n location / { content_by_lua_file conf/none.lua; } } }",
        &["moongate.conf:2:", "conf/none.lua", "No such file or directory"],
    );
}

#[test]
fn an_error_in_init_by_lua_is_refused() {
    refuses(
        "http { init_by_lua_block {\n error(\"no good\")\n}\n server { listen 127.0.0.1:$PORT; } }",
        &["init_by_lua(moongate.conf:1):2: no good"],
    );
}

#[test]
fn an_endless_init_by_lua_is_refused() {
    refuses(
        "http { init_by_lua_block { while true do end }\n server { listen 127.0.0.1:$PORT; } }",
        &["init_by_lua"],
    );
}

#[test]
fn an_unknown_upstream_is_refused() {
    refuses(
        "http { server { listen 127.0.0.1:$PORT;\n location / { proxy_pass http://no-such-upstream.invalid; } } }",
        &["moongate.conf:2:", "host not found in upstream \"no-such-upstream.invalid\""],
    );
}

#[test]
fn an_unknown_variable_is_refused() {
    refuses(
        "http { server { listen 127.0.0.1:$PORT;\n location / { return 200 \"$no_such_thing\"; } } }",
        &["moongate.conf:2:", "unknown \"no_such_thing\" variable"],
    );
}

#[test]
fn a_broken_regex_is_refused() {
    refuses(
        "http { server { listen 127.0.0.1:$PORT;\n location ~ \"(x\" { return 200; } } }",
        &["moongate.conf:2:", "(x"],
    );
}

#[test]
fn a_port_in_use_is_named() {
    let port = ports::free();
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
    refused(
        Setup::new(Kind::Moongate).with("TAKEN", port),
        "http { server {\n listen 127.0.0.1:$TAKEN; } }",
        &[&format!("127.0.0.1:{port}"), "Address already in use"],
    );
}

#[test]
fn a_second_moongate_does_not_take_half_of_the_traffic() {
    let first = gateway("http { server { listen 127.0.0.1:$PORT; return 200 first; } }");
    refused(
        Setup::new(Kind::Moongate).with("TAKEN", first.port()),
        "worker_processes 2; http { server { listen 127.0.0.1:$TAKEN; return 200 second; } }",
        &[&format!("127.0.0.1:{}", first.port()), "Address already in use"],
    );
    for _ in 0..20 {
        assert_eq!(get(first.port(), "/").text(), "first");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    refuses(
        "http {\n include conf.d/none.conf;\n server { listen 127.0.0.1:$PORT; } }",
        &["moongate.conf:2:", "conf.d/none.conf", "No such file or directory"],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let setup = Setup::new(Kind::Moongate).file("conf/part.conf", "# nothing\n");
    let path = setup.prefix().join("conf/part.conf");
    let permissions = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(&path, permissions).expect("its owner may");
    if std::fs::read(&path).is_ok() {
        // Nothing is unreadable to root; a folder in its place is, to everybody.
        std::fs::remove_file(&path).expect("it is there");
        std::fs::create_dir(&path).expect("the name is free now");
    }
    refused(
        setup,
        "http {\n include part.conf;\n server { listen 127.0.0.1:$PORT; } }",
        &["moongate.conf:2:", "part.conf"],
    );
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let mut command = std::process::Command::new(crate::harness::server::binary());
    let output = command.args(["-c", "/nowhere/none.conf"]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("/nowhere/none.conf"), "{said}");
    assert!(said.contains("No such file or directory"), "{said}");
}

#[test]
fn an_unknown_upstream_in_a_variable_is_a_502_and_serving_goes_on() {
    let server = gateway(
        "http { server { listen 127.0.0.1:$PORT;\n location / { proxy_pass http://$arg_to; }\n \
         location /fine { return 200 fine; } } }",
    );
    assert_eq!(get(server.port(), "/?to=nowhere").status(), 502);
    server.expect_logged("nowhere");
    assert_eq!(get(server.port(), "/fine").text(), "fine");
}
